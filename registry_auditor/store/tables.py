"""The tables. A run and its findings are facts: no foreign key here cascades a deletion."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Double, ForeignKey, Index, MetaData, UniqueConstraint, false, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from registry_auditor.domain import AuditState, BaseSource, Queue, RunStatus, Severity, Side, Verdict
from registry_auditor.store.columns import PlainText, UtcDateTime, by_value, json_document

Object = dict[str, Any]
List = list[Any]

UNFINISHED = text("state <> 'done'")
"""As a condition, in the very words of the indexes: with a bound parameter neither database would use them."""
LATEST = text("latest")
BY_KEY = {"sqlite_with_rowid": False}
"""A table of small rows, which lie in the order of their key."""
UNSENT = text("state <> 'done' AND sent_at IS NULL")


class Tables(DeclarativeBase):
    """Base of all rows."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: PlainText,
        float: Double,
        datetime: UtcDateTime,
        Object: json_document,
        List: json_document,
    } | {enum: by_value(enum) for enum in (AuditState, BaseSource, Queue, RunStatus, Severity, Side, Verdict)}


class ModelRow(Tables):
    """One revision of one registry entry."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("registry", "name", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    within: Mapped[str] = mapped_column("registry")
    """hf"""
    name: Mapped[str]
    """HuggingFaceTB/SmolLM2-135M-Instruct"""
    revision: Mapped[str]
    """A commit or digest; '' where the registry has not resolved it, since NULLs are never equal."""
    digest: Mapped[str | None] = mapped_column(index=True)
    """Of the content that the latest audit of this revision read."""


class SightingRow(Tables):
    """A registry showed us a model, and somebody claimed a base."""

    __tablename__ = "sightings"
    __table_args__ = (Index(None, "model_id", "base_id"), Index(None, "base_id"), Index(None, "registry", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    base_id: Mapped[int | None] = mapped_column(ForeignKey("models.id"))
    source: Mapped[BaseSource | None]
    skipped: Mapped[str | None]
    """Why no audit follows; NULL if one does."""
    shown_by: Mapped[str | None] = mapped_column("registry")
    """dir:/models, the watched registry that showed it; NULL for what only a person asked for."""
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class AuditRow(Tables):
    """The queue of record: one job, who works on it, and its verdict."""

    __tablename__ = "audits"
    __table_args__ = (
        # Two people who ask for the same job at the same moment get the same row.
        Index(
            "uq_audits_unfinished",
            "job_digest",
            unique=True,
            sqlite_where=UNFINISHED,
            postgresql_where=UNFINISHED,
        ),
        # `state` is there for the counts, which then need not read the rows.
        Index("ix_audits_due", "queue", "due_at", "id", "state", sqlite_where=UNFINISHED, postgresql_where=UNFINISHED),
        # Of 100,000 that are with the broker, none is looked at to find the next one that is not.
        Index("ix_audits_unsent", "queue", "due_at", "id", sqlite_where=UNSENT, postgresql_where=UNSENT),
        Index(None, "job_digest", "id"),
        Index(None, "state", "id"),
        Index(None, "model_id", "id"),
        Index(None, "base_id", "id"),
        Index(None, "verdict", "id"),
        Index("ix_audits_latest", "verdict", "model_id", "id", sqlite_where=LATEST, postgresql_where=LATEST),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    base_id: Mapped[int | None] = mapped_column(ForeignKey("models.id"))
    base_source: Mapped[BaseSource | None]
    fail_on: Mapped[Severity]
    plan: Mapped[List]
    """[["svd-diff", 1, "<digest of its parameters>"]]"""
    wish: Mapped[Object | None]
    """{"svd-diff": {"max_directions": 5}}: what somebody asked for by name; NULL: as the settings say."""
    job_digest: Mapped[str]
    model_digest: Mapped[str | None]
    """NULL until a worker has opened the model."""
    base_digest: Mapped[str | None]
    queue: Mapped[Queue]
    state: Mapped[AuditState]
    due_at: Mapped[datetime]
    """From when on a worker may take it: while one works on it, the end of that one's lease."""
    sent_at: Mapped[datetime | None]
    """When its id was handed to the broker; NULL again as soon as it does not wait."""
    verdict: Mapped[Verdict | None]
    latest: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether it is the newest finished one of its registry entry, of whichever revision."""
    reason: Mapped[str | None]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    claims: Mapped[int]
    holder: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]


class RunRow(Tables):
    """One analyzer on one pair of contents: a fact that every later audit of the pair may use."""

    __tablename__ = "runs"
    __table_args__ = (
        # Failed runs repeat; a result is kept once.
        Index(
            "uq_runs_ok",
            "model_digest",
            "base_digest",
            "analyzer",
            "version",
            "params_digest",
            unique=True,
            sqlite_where=text("status = 'ok'"),
            postgresql_where=text("status = 'ok'"),
        ),
        Index(None, "analyzer", "version", "status", "seconds"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    audit_id: Mapped[str] = mapped_column(ForeignKey("audits.id"), index=True)
    """The audit that paid for it; those that show it are in `audit_runs`."""
    model_digest: Mapped[str]
    base_digest: Mapped[str]
    """'' without a base, since NULLs are never equal."""
    analyzer: Mapped[str]
    version: Mapped[int]
    params_digest: Mapped[str]
    params: Mapped[Object]
    status: Mapped[RunStatus]
    reason: Mapped[str | None]
    seconds: Mapped[float]
    device: Mapped[str]
    peak_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    coverage_seen: Mapped[int] = mapped_column(BigInteger)
    coverage_skipped: Mapped[List]
    """[["model.layers.0.mlp.gate.weight", "4-bit GPTQ is not read"]]"""
    created_at: Mapped[datetime]


class AuditRunRow(Tables):
    """The latest run of each step of an audit."""

    __tablename__ = "audit_runs"

    audit_id: Mapped[str] = mapped_column(ForeignKey("audits.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    """The step's place in the plan."""
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)


class FindingRow(Tables):
    """One observation; rows are added and never changed."""

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        Index(None, "severity", "id"),
        Index(None, "code", "severity", "id"),
        Index(None, "fingerprint", "id"),
        Index(None, "score", "id"),
        Index(None, "fpr", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    ordinal: Mapped[int]
    fingerprint: Mapped[str]
    """The same observation in another revision of the model has the same."""
    code: Mapped[str]
    analyzer: Mapped[str]
    severity: Mapped[Severity]
    score: Mapped[float | None]
    threshold: Mapped[float | None]
    fpr: Mapped[float | None]
    message: Mapped[str]
    tensor: Mapped[str | None]
    layer: Mapped[int | None]
    role: Mapped[str | None]
    side: Mapped[Side | None]
    evidence: Mapped[Object]
    taxonomies: Mapped[List]
    """[["mitre-atlas", "5.0", "AML.T0018"]]"""
    created_at: Mapped[datetime] = mapped_column(index=True)


class KindRow(Tables):
    """A kind of finding that has been seen: there are few, so that patterns are matched with them."""

    __tablename__ = "kinds"

    code: Mapped[str] = mapped_column(primary_key=True)
    severity: Mapped[Severity] = mapped_column(primary_key=True)
    analyzer: Mapped[str] = mapped_column(primary_key=True)


class TallyRow(Tables):
    """How many findings of one severity a run has: what models and audits show is counted from here."""

    __tablename__ = "tallies"
    __table_args__ = BY_KEY

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    severity: Mapped[Severity] = mapped_column(primary_key=True)
    findings: Mapped[int]


class AuditTallyRow(Tables):
    """How many findings of one severity a finished audit shows: what all models show is counted from here."""

    __tablename__ = "audit_tallies"
    __table_args__ = BY_KEY

    audit_id: Mapped[str] = mapped_column(ForeignKey("audits.id"), primary_key=True)
    severity: Mapped[Severity] = mapped_column(primary_key=True)
    findings: Mapped[int]


class BankRow(Tables):
    """A bank file, named by the sha256 of its bytes."""

    __tablename__ = "banks"
    __table_args__ = (Index(None, "basis", "dimension", "created_at"),)

    sha256: Mapped[str] = mapped_column(primary_key=True)
    basis: Mapped[str]
    """Digest of the base model: vectors of one basis can be compared."""
    dimension: Mapped[int]
    directions: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    sketches: Mapped[bytes | None] = mapped_column(deferred=True)
    """One sketch a direction, in order, all of one length; NULL until a search has needed it."""


class RunBankRow(Tables):
    """Which runs brought a bank forth: svd-diff and token-projection share theirs."""

    __tablename__ = "run_banks"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    bank_sha256: Mapped[str] = mapped_column(ForeignKey("banks.sha256"), primary_key=True, index=True)
    position: Mapped[int]


class DirectionRow(Tables):
    """What can be asked about a vector without reading its bank; row `ordinal` of the bank holds the vector."""

    __tablename__ = "directions"
    __table_args__ = (Index(None, "strength", "bank_sha256", "ordinal"),)

    bank_sha256: Mapped[str] = mapped_column(ForeignKey("banks.sha256"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    tensor: Mapped[str]
    layer: Mapped[int | None]
    role: Mapped[str]
    side: Mapped[Side | None]
    rank: Mapped[int]
    strength: Mapped[float]
    residual: Mapped[float]
    tokens: Mapped[Object | None]
    """{"top": [["▁bomb", 9.1]], "bottom": [], "p_value": 0.001}; NULL until an analyzer has read it."""
