"""Findings are found by what they are, by what they say, and in any order; audits and sightings by their base."""

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"

Choice = sa.String(32)

DROPPED = (["code", "id"], ["analyzer", "id"], ["fingerprint"])
ADDED = {
    "findings": (["code", "severity", "id"], ["fingerprint", "id"], ["score", "id"], ["fpr", "id"]),
    "audits": (["base_id", "id"], ["verdict", "id"]),
    "sightings": (["base_id"],),
}
# As SQLite's tokenizer has it: PostgreSQL's own would keep `model.layers.3` in one piece.
WORDS = r"""to_tsvector('simple',
    translate(left(message, 10000), E'!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~', repeat(' ', 32)))"""
ADD_WORDS = """
INSERT INTO finding_numbers (finding_id) VALUES (new.id);
INSERT INTO finding_words (rowid, message) VALUES (last_insert_rowid(), substr(new.message, 1, 10000));
"""


def upgrade() -> None:
    for columns in DROPPED:
        op.drop_index("_".join(("ix_findings", *columns)), "findings")
    for table, indexes in ADDED.items():
        for columns in indexes:
            op.create_index("_".join(("ix", table, *columns)), table, columns)
    _mark_latest()
    op.create_table(
        "kinds",
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("severity", Choice, primary_key=True),
        sa.Column("analyzer", sa.Text, primary_key=True),
    )
    op.execute("INSERT INTO kinds SELECT DISTINCT code, severity, analyzer FROM findings")
    op.create_table(
        "tallies",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("severity", Choice, primary_key=True),
        sa.Column("findings", sa.Integer, nullable=False),
    )
    op.execute("INSERT INTO tallies SELECT run_id, severity, count(*) FROM findings GROUP BY run_id, severity")
    _add_words[op.get_context().dialect.name]()


def downgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER findings_are_worded")
        op.execute("DROP TABLE finding_words")
        op.execute("DROP TABLE finding_numbers")
    else:
        op.execute("DROP INDEX ix_findings_words")
        op.execute("DROP INDEX ix_models_beginning")
    op.drop_index("ix_audits_latest", "audits")
    op.drop_column("audits", "latest")
    op.drop_table("tallies")
    op.drop_table("kinds")
    for table, indexes in ADDED.items():
        for columns in indexes:
            op.drop_index("_".join(("ix", table, *columns)), table)
    for columns in DROPPED:
        op.create_index("_".join(("ix_findings", *columns)), "findings", columns)


def _mark_latest() -> None:
    op.add_column("audits", sa.Column("latest", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute(
        "UPDATE audits SET latest = true WHERE id IN (SELECT max(audits.id) FROM audits "
        "JOIN models ON models.id = audits.model_id WHERE audits.state = 'done' GROUP BY models.registry, models.name)"
    )
    latest = sa.text("latest")
    op.create_index("ix_audits_latest", "audits", ["verdict", "id"], sqlite_where=latest, postgresql_where=latest)


def _sqlite() -> None:
    # The row numbers of `findings` may change when the file is vacuumed: these are ours, and grow with age.
    op.execute("CREATE TABLE finding_numbers (number INTEGER PRIMARY KEY, finding_id TEXT NOT NULL UNIQUE)")
    op.execute(
        "CREATE VIRTUAL TABLE finding_words USING fts5(message, content='', tokenize='unicode61 remove_diacritics 0')"
    )
    op.execute("INSERT INTO finding_numbers (finding_id) SELECT id FROM findings ORDER BY id")
    op.execute(
        "INSERT INTO finding_words (rowid, message) SELECT number, substr(message, 1, 10000) "
        "FROM finding_numbers JOIN findings ON findings.id = finding_id ORDER BY number"
    )
    op.execute(f"CREATE TRIGGER findings_are_worded AFTER INSERT ON findings BEGIN {ADD_WORDS} END")


def _postgresql() -> None:
    op.execute("CREATE INDEX ix_models_beginning ON models (registry, name text_pattern_ops)")
    op.execute(f"CREATE INDEX ix_findings_words ON findings USING gin (({WORDS}))")


_add_words = {"sqlite": _sqlite, "postgresql": _postgresql}
