"""What all models show is summed from their audits; words are looked up in messages that were taken apart before."""

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"

Choice = sa.String(32)

# As SQLite's tokenizer has it: PostgreSQL's own would keep `model.layers.3` in one piece.
WORDS = r"""to_tsvector('simple',
    translate(left(message, 10000), E'!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~', repeat(' ', 32)))"""
OF_RUNS = "SELECT run_id, severity, count(*) FROM findings GROUP BY run_id, severity"
OF_AUDITS = (
    "SELECT audit_id, severity, sum(findings) FROM audit_runs JOIN tallies ON tallies.run_id = audit_runs.run_id "
    "JOIN audits ON audits.id = audit_id WHERE state = 'done' GROUP BY audit_id, severity"
)


def upgrade() -> None:
    op.drop_table("tallies")
    _tally("tallies", "runs", OF_RUNS, sqlite_with_rowid=False)
    _tally("audit_tallies", "audits", OF_AUDITS, sqlite_with_rowid=False)
    _index_latest(["verdict", "model_id", "id"])
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP INDEX ix_findings_words")
        # Kept, not only indexed: to take a message apart again takes longer than all else that is asked of it.
        kept = f"tsvector GENERATED ALWAYS AS (strip({WORDS})) STORED"
        op.execute(f"ALTER TABLE findings ADD COLUMN finding_words {kept}")
        op.execute("CREATE INDEX ix_findings_words ON findings USING gin (finding_words)")


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE findings DROP COLUMN finding_words")
        op.execute(f"CREATE INDEX ix_findings_words ON findings USING gin (({WORDS}))")
    _index_latest(["verdict", "id"])
    op.drop_table("audit_tallies")
    op.drop_table("tallies")
    _tally("tallies", "runs", OF_RUNS)


def _tally(table: str, of: str, counted: str, **options: bool) -> None:
    op.create_table(
        table,
        sa.Column(f"{of[:-1]}_id", sa.Text, sa.ForeignKey(f"{of}.id"), primary_key=True),
        sa.Column("severity", Choice, primary_key=True),
        sa.Column("findings", sa.Integer, nullable=False),
        **options,
    )
    op.execute(f"INSERT INTO {table} {counted}")


def _index_latest(columns: list[str]) -> None:
    latest = sa.text("latest")
    op.drop_index("ix_audits_latest", "audits")
    op.create_index("ix_audits_latest", "audits", columns, sqlite_where=latest, postgresql_where=latest)
