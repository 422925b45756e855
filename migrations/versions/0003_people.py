"""What people say and may do: triage, suppressions, tokens, the log of writes; analyzers as workers have them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"

Time = sa.DateTime(timezone=True)
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

CREATED = ("triages", "suppressions", "tokens", "writes", "analyzers")


def upgrade() -> None:
    op.add_column("audits", sa.Column("wish", Json))
    op.add_column("banks", sa.Column("sketches", sa.LargeBinary))
    _opinions()
    _access()
    op.create_table(
        "analyzers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("needs", Json, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("manual", sa.Text, nullable=False),
        sa.Column("schema", Json, nullable=False),
        sa.Column("seen_at", Time, nullable=False),
    )


def downgrade() -> None:
    for table in CREATED:
        op.drop_table(table)
    op.drop_column("banks", "sketches")
    op.drop_column("audits", "wish")


def _opinions() -> None:
    op.create_table(
        "triages",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("justification", sa.Text),
        sa.Column("owner", sa.Text),
        sa.Column("comment", sa.Text),
        sa.Column("expires_at", Time),
        sa.Column("at", Time, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
    )
    op.create_index("ix_triages_fingerprint_at_id", "triages", ["fingerprint", "at", "id"])
    op.create_index("ix_triages_state_fingerprint", "triages", ["state", "fingerprint"])
    op.create_table(
        "suppressions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("code", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("fingerprint", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("expires_at", Time, nullable=False),
        sa.Column("ended_at", Time),
        sa.Column("ended_by", sa.Text),
    )
    op.create_index("ix_suppressions_expires_at", "suppressions", ["expires_at"])


def _access() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("scopes", Json, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", Time),
        sa.Column("revoked_at", Time),
        sa.Column("last_used_at", Time),
    )
    op.create_table(
        "writes",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at", Time, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("request", sa.Text),
        sa.UniqueConstraint("by", "key"),
    )
