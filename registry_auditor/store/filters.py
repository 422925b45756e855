"""What a list can be asked for, as conditions on its rows."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import SQLCoreOperations, UnaryExpression
from sqlalchemy.sql.operators import custom_op

from registry_auditor.domain import AuditState, FindingOrder, ModelRef, Severity, TriageState, Verdict
from registry_auditor.store.ids import first_at
from registry_auditor.store.tables import AuditRow, AuditRunRow, DirectionRow, ModelRow, SightingRow

Conditions = list[ColumnElement[bool]]

APART = timedelta(days=1)
"""By how much the clock of whoever makes ids may differ from the database's."""


class AuditFilters(TypedDict, total=False):
    """Which audits; what is absent or None does not matter."""

    model_glob: str | None
    """`hf:org/*`, with or without `@revision`; `*` is any text, `?` any character."""
    base_glob: str | None
    """The same of the base."""
    model: ModelRef | None
    """Exactly this one; of a registry entry without a revision, every revision."""
    state: AuditState | None
    verdict: Verdict | None
    since: datetime | None
    """Queued then or later."""
    until: datetime | None
    """Queued before."""


class FindingFilters(TypedDict, total=False):
    """Which findings, in which order; what is absent or None does not matter."""

    audit_id: str | None
    model_glob: str | None
    base_glob: str | None
    """`hf:org/*`: the base of an audit that shows it."""
    severity: Severity | None
    """At least this one."""
    code: str | None
    """A glob: `svd-diff/*`."""
    analyzer: str | None
    state: TriageState | None
    counts: bool | None
    """Whether it counts for verdicts and gates: it is neither dismissed nor suppressed."""
    since: datetime | None
    """Found then or later."""
    until: datetime | None
    """Found before."""
    max_fpr: float | None
    """Measured, and not above this one."""
    calibrated: bool | None
    """Whether its false-positive rate was measured."""
    text: str | None
    """Words, all of which its message has, in any order; upper and lower case are one."""
    fingerprint: str | None
    sort: FindingOrder | None
    """The newest first unless told."""


class DirectionFilters(TypedDict, total=False):
    """Which directions; what is absent or None does not matter."""

    audit_id: str | None
    model_glob: str | None
    tensor: str | None
    """A glob: `*.down_proj.weight`."""
    role: str | None
    """A glob: `mlp.*`."""
    layer: int | None
    rank: int | None
    """0: the strongest of its matrix."""


class SightingFilters(TypedDict, total=False):
    """Which sightings; what is absent or None does not matter."""

    model_glob: str | None
    skipped: bool | None
    registry: str | None
    """The watched registry that showed it."""


def of_audits(session: Session, filters: AuditFilters) -> Conditions:
    """On `audits`."""
    conditions: Conditions = []
    if glob := filters.get("model_glob"):
        conditions.append(AuditRow.model_id.in_(_models(session, glob)))
    if glob := filters.get("base_glob"):
        conditions.append(AuditRow.base_id.in_(_models(session, glob)))
    if model := filters.get("model"):
        conditions.append(AuditRow.model_id.in_(_revisions(model)))
    if state := filters.get("state"):
        conditions.append(AuditRow.state == state)
    if verdict := filters.get("verdict"):
        conditions.append(AuditRow.verdict == verdict)
    if since := filters.get("since"):
        conditions += [AuditRow.queued_at >= since, AuditRow.id >= first_at(since, apart=-APART)]
    if until := filters.get("until"):
        conditions += [AuditRow.queued_at < until, AuditRow.id < first_at(until, apart=APART)]
    return conditions


def of_directions(session: Session, filters: DirectionFilters) -> Conditions:
    """On `directions`; their audit and model are a matter of `of_shown`."""
    conditions: Conditions = []
    if tensor := filters.get("tensor"):
        conditions.append(fits(session, DirectionRow.tensor, tensor))
    if role := filters.get("role"):
        conditions.append(fits(session, DirectionRow.role, role))
    if (layer := filters.get("layer")) is not None:
        conditions.append(DirectionRow.layer == layer)
    if (rank := filters.get("rank")) is not None:
        conditions.append(DirectionRow.rank == rank)
    return conditions


def of_sightings(session: Session, filters: SightingFilters) -> Conditions:
    """On `sightings`."""
    conditions: Conditions = []
    if glob := filters.get("model_glob"):
        conditions.append(SightingRow.model_id.in_(_models(session, glob)))
    if (skipped := filters.get("skipped")) is not None:
        conditions.append(SightingRow.skipped.is_not(None) if skipped else SightingRow.skipped.is_(None))
    if registry := filters.get("registry"):
        conditions.append(SightingRow.shown_by == registry)
    return conditions


def of_shown(
    session: Session, *, audit_id: str | None, model_glob: str | None, base_glob: str | None = None
) -> Conditions:
    """On `audit_runs`: the runs that one audit shows, or the audits of some models or against some bases."""
    conditions: Conditions = []
    if audit_id:
        conditions.append(AuditRunRow.audit_id == audit_id)
    if model_glob:
        audits = select(AuditRow.id).where(AuditRow.model_id.in_(_models(session, model_glob)))
        conditions.append(AuditRunRow.audit_id.in_(audits))
    if base_glob:
        audits = select(AuditRow.id).where(AuditRow.base_id.in_(_models(session, base_glob)))
        conditions.append(AuditRunRow.audit_id.in_(audits))
    return conditions


def models_like(session: Session, glob: str) -> ColumnElement[bool]:
    """On `models`: those that fit, with or without `@revision`."""
    name = ModelRow.within + ":" + ModelRow.name
    fitting = or_(fits(session, name, glob), fits(session, name + "@" + ModelRow.revision, glob))
    return and_(*_beginning(session, glob), fitting)


def _beginning(session: Session, glob: str) -> Conditions:
    """On `models`: what begins as `glob` does, for an index; what stands before the name is a registry."""
    registry, colon, name = re.split(r"[*?]", glob, maxsplit=1)[0].partition(":")
    if not colon:
        return []
    conditions: Conditions = [ModelRow.within == registry]
    if first := name.partition("@")[0]:
        # By bytes, whatever language a PostgreSQL database sorts in; it has an index for that.
        least, most = (">=", "<=") if session.get_bind().dialect.name == "sqlite" else ("~>=~", "~<=~")
        conditions += [ModelRow.name.bool_op(least)(first), ModelRow.name.bool_op(most)(first + "\U0010ffff")]
    return conditions


def _models(session: Session, glob: str) -> Select[int]:
    return select(ModelRow.id).where(models_like(session, glob))


def _revisions(model: ModelRef) -> Select[int]:
    entry = select(ModelRow.id).where(ModelRow.within == model.registry, ModelRow.name == model.name)
    return entry if model.revision is None else entry.where(ModelRow.revision == model.revision)


def fits(session: Session, text: SQLCoreOperations[str], glob: str) -> ColumnElement[bool]:
    """Whether `text` fits `glob`, upper and lower case apart."""
    if not set(glob) & set("*?"):
        return text == glob
    if session.get_bind().dialect.name == "sqlite":  # whose LIKE takes a for A
        return text.bool_op("GLOB")(glob.replace("[", "[[]"))
    escapes: dict[str, Any] = {"\\": "\\\\", "%": "\\%", "_": "\\_", "*": "%", "?": "_"}
    return text.like(glob.translate(str.maketrans(escapes)), escape="\\")


def unindexed(session: Session, column: Any) -> Any:
    """`column`, of which SQLite, which keeps no statistics, must not believe that it narrows the question most."""
    if session.get_bind().dialect.name != "sqlite":
        return column
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)
