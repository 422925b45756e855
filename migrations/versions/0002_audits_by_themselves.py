"""Audits happen by themselves: when an audit is due and on which queue, watched registries, webhooks, notices."""

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"

Choice = sa.String(32)
Time = sa.DateTime(timezone=True)

UNFINISHED = "state <> 'done'"
INDEXES = (
    ("ix_audits_due", "audits", ["queue", "due_at", "id", "state"], UNFINISHED),
    ("ix_audits_unsent", "audits", ["queue", "due_at", "id"], f"{UNFINISHED} AND sent_at IS NULL"),
    ("ix_audits_job_digest_id", "audits", ["job_digest", "id"], None),
    ("ix_runs_analyzer_version_status_seconds", "runs", ["analyzer", "version", "status", "seconds"], None),
    ("ix_sightings_registry_id", "sightings", ["registry", "id"], None),
)
ADDED = {"audits": ["queue", "due_at", "sent_at"], "sightings": ["skipped", "registry"]}
CREATED = ("notices", "deliveries", "watched")


def upgrade() -> None:
    _audits()
    op.add_column("sightings", sa.Column("skipped", sa.Text))
    op.add_column("sightings", sa.Column("registry", sa.Text))
    for name, table, columns, condition in INDEXES:
        _index(name, table, columns, condition)
    _watched()
    _deliveries()
    _notices()


def downgrade() -> None:
    for table in CREATED:
        op.drop_table(table)
    for name, table, _, _ in INDEXES:
        op.drop_index(name, table)
    for table, columns in ADDED.items():
        for column in columns:
            op.drop_column(table, column)


def _audits() -> None:
    # SQLite adds a column that is NOT NULL only with a default, and could drop that one again only by copying the
    # table, to which others refer: there it stays.
    op.add_column("audits", sa.Column("queue", Choice, nullable=False, server_default="cpu"))
    op.add_column("audits", sa.Column("due_at", Time, nullable=False, server_default="1970-01-01 00:00:00.000000"))
    op.add_column("audits", sa.Column("sent_at", Time))
    op.execute("UPDATE audits SET due_at = coalesce(lease_expires_at, queued_at)")
    if op.get_context().dialect.name != "sqlite":
        for column in ("queue", "due_at"):
            op.alter_column("audits", column, server_default=None)


def _index(name, table, columns, condition):
    where = condition and sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _watched() -> None:
    op.create_table(
        "watched",
        sa.Column("registry", sa.Text, primary_key=True),
        sa.Column("cursor", sa.Text),
        sa.Column("plan", sa.Text),
        sa.Column("polled_at", Time),
        sa.Column("full_at", Time),
        sa.Column("problem", sa.Text),
    )


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("target", sa.Text),
        sa.Column("received_at", Time, nullable=False),
        sa.Column("settled_at", Time),
        sa.UniqueConstraint("hook", "key"),
    )
    columns = ["settled_at", "received_at", "id"]
    op.create_index("ix_deliveries_settled_at_received_at_id", "deliveries", columns)


def _notices() -> None:
    op.create_table(
        "notices",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("audit_id", sa.Text, sa.ForeignKey("audits.id"), nullable=False),
        sa.Column("queued_at", Time, nullable=False),
        sa.Column("due_at", Time),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sent_at", Time),
        sa.Column("problem", sa.Text),
    )
    for columns in (["due_at", "id"], ["target", "id"], ["audit_id"]):
        op.create_index("_".join(("ix_notices", *columns)), "notices", columns)
    _index("ix_notices_undelivered", "notices", ["id"], "sent_at IS NULL")
