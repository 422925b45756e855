"""First tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None

Document = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
Choice = sa.String(32)
Time = sa.DateTime(timezone=True)

DROPPED = (
    "directions",
    "run_banks",
    "banks",
    "findings",
    "audit_runs",
    "runs",
    "audits",
    "sightings",
    "models",
)


def upgrade() -> None:
    _models()
    _audits()
    _runs()
    _findings()
    _banks()
    _directions()


def downgrade() -> None:
    for table in DROPPED:
        op.drop_table(table)


def _column(name, kind=sa.Text, *, null=False):
    return sa.Column(name, kind() if isinstance(kind, type) else kind, nullable=null)


def _reference(name, to, kind=sa.Text, *, null=False):
    """A column that names a row of another table; deleting that row is refused."""
    return sa.Column(name, kind(), sa.ForeignKey(to), nullable=null)


def _create(name, *columns, key, unique=(), indexes=()):
    keys = [sa.PrimaryKeyConstraint(*key)] + [sa.UniqueConstraint(*unique)] * bool(unique)
    op.create_table(name, *columns, *keys)
    for index in indexes:
        op.create_index("_".join(("ix", name, *index)), name, list(index))


def _unique_where(name, table, columns, condition):
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=True, sqlite_where=where, postgresql_where=where)


def _models() -> None:
    _create(
        "models",
        _column("id", sa.Integer),
        _column("registry"),
        _column("name"),
        _column("revision"),
        _column("digest", null=True),
        key=["id"],
        unique=["registry", "name", "revision"],
        indexes=[["digest"]],
    )
    _create(
        "sightings",
        _column("id", sa.Integer),
        _reference("model_id", "models.id", sa.Integer),
        _reference("base_id", "models.id", sa.Integer, null=True),
        _column("source", Choice, null=True),
        _column("first_seen_at", Time),
        _column("last_seen_at", Time),
        key=["id"],
        indexes=[["model_id", "base_id"]],
    )


def _audits() -> None:
    _create(
        "audits",
        _column("id"),
        _reference("model_id", "models.id", sa.Integer),
        _reference("base_id", "models.id", sa.Integer, null=True),
        _column("base_source", Choice, null=True),
        _column("fail_on", Choice),
        _column("plan", Document),
        _column("job_digest"),
        _column("model_digest", null=True),
        _column("base_digest", null=True),
        _column("state", Choice),
        _column("verdict", Choice, null=True),
        _column("reason", null=True),
        _column("queued_at", Time),
        _column("started_at", Time, null=True),
        _column("finished_at", Time, null=True),
        _column("claims", sa.Integer),
        _column("holder", null=True),
        _column("lease_expires_at", Time, null=True),
        key=["id"],
        indexes=[["state", "id"], ["model_id", "id"]],
    )
    _unique_where("uq_audits_unfinished", "audits", ["job_digest"], "state <> 'done'")


def _runs() -> None:
    _create(
        "runs",
        _column("id"),
        _reference("audit_id", "audits.id"),
        _column("model_digest"),
        _column("base_digest"),
        _column("analyzer"),
        _column("version", sa.Integer),
        _column("params_digest"),
        _column("params", Document),
        _column("status", Choice),
        _column("reason", null=True),
        _column("seconds", sa.Double),
        _column("device"),
        _column("peak_memory_bytes", sa.BigInteger, null=True),
        _column("coverage_seen", sa.BigInteger),
        _column("coverage_skipped", Document),
        _column("created_at", Time),
        key=["id"],
        indexes=[["audit_id"]],
    )
    step = ["model_digest", "base_digest", "analyzer", "version", "params_digest"]
    _unique_where("uq_runs_ok", "runs", step, "status = 'ok'")
    _create(
        "audit_runs",
        _reference("audit_id", "audits.id"),
        _column("position", sa.Integer),
        _reference("run_id", "runs.id"),
        key=["audit_id", "position"],
        indexes=[["run_id"]],
    )


def _findings() -> None:
    _create(
        "findings",
        _column("id"),
        _reference("run_id", "runs.id"),
        _column("ordinal", sa.Integer),
        _column("fingerprint"),
        _column("code"),
        _column("analyzer"),
        _column("severity", Choice),
        _column("score", sa.Double, null=True),
        _column("threshold", sa.Double, null=True),
        _column("fpr", sa.Double, null=True),
        _column("message"),
        _column("tensor", null=True),
        _column("layer", sa.Integer, null=True),
        _column("role", null=True),
        _column("side", Choice, null=True),
        _column("evidence", Document),
        _column("taxonomies", Document),
        _column("created_at", Time),
        key=["id"],
        unique=["run_id", "ordinal"],
        indexes=[["severity", "id"], ["code", "id"], ["analyzer", "id"], ["fingerprint"], ["created_at"]],
    )


def _banks() -> None:
    _create(
        "banks",
        _column("sha256"),
        _column("basis"),
        _column("dimension", sa.Integer),
        _column("directions", sa.Integer),
        _column("size_bytes", sa.BigInteger),
        _column("created_at", Time),
        key=["sha256"],
        indexes=[["basis"]],
    )
    _create(
        "run_banks",
        _reference("run_id", "runs.id"),
        _reference("bank_sha256", "banks.sha256"),
        _column("position", sa.Integer),
        key=["run_id", "bank_sha256"],
        indexes=[["bank_sha256"]],
    )


def _directions() -> None:
    _create(
        "directions",
        _reference("bank_sha256", "banks.sha256"),
        _column("ordinal", sa.Integer),
        _column("tensor"),
        _column("layer", sa.Integer, null=True),
        _column("role"),
        _column("side", Choice, null=True),
        _column("rank", sa.Integer),
        _column("strength", sa.Double),
        _column("residual", sa.Double),
        _column("tokens", Document, null=True),
        key=["bank_sha256", "ordinal"],
        indexes=[["strength", "bank_sha256", "ordinal"]],
    )
