"""Full text on the messages of findings: FTS5 on SQLite, a GIN index on PostgreSQL, by the same words on both."""

from __future__ import annotations

import re
import string
from typing import Any

from sqlalchemy import ColumnElement, Select, column, func, literal, literal_column, select, table

from registry_auditor.store.columns import plain_text
from registry_auditor.store.tables import FindingRow

INDEXED: ColumnElement[Any] = literal_column(
    r"""to_tsvector('simple',
    translate(left(findings.message, 10000), E'!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~', repeat(' ', 32)))"""
)
"""In the very words of the index: with others PostgreSQL would not use it."""

WORDS = table("finding_words", column("rowid"), column("finding_words"))
NUMBERS = table("finding_numbers", column("number"), column("finding_id"))

MOST = 16
"""Words of a question that are looked for."""
BETWEEN = re.compile(rf"[\s{re.escape(string.punctuation)}]+")


def words(text: str) -> list[str]:
    """The words of a question, taken apart as those of the messages are."""
    return [word for word in BETWEEN.split(plain_text(text)) if word][:MOST]


def matching(text: str) -> ColumnElement[bool]:
    """On `findings`, in PostgreSQL: those whose message has all words of `text`."""
    return INDEXED.bool_op("@@")(func.plainto_tsquery(literal_column("'simple'"), " ".join(words(text))))


def numbers(text: str) -> Select[int]:
    """In SQLite: the numbers of the findings whose message has all words of `text`."""
    return select(WORDS.c.rowid).where(_match(text))


def ids(text: str) -> Select[str]:
    """In SQLite: the ids of these findings."""
    return select(NUMBERS.c.finding_id).where(NUMBERS.c.number.in_(numbers(text)))


def says(text: str) -> ColumnElement[bool]:
    """On `findings`, in SQLite: whether the message of this one has all words of `text`."""
    this = select(NUMBERS.c.number).where(NUMBERS.c.finding_id == FindingRow.id).correlate(FindingRow)
    return select(literal(1)).where(WORDS.c.rowid == this.scalar_subquery(), _match(text)).exists()


def _match(text: str) -> ColumnElement[bool]:
    sought = " ".join(f'"{word}"' for word in words(text))  # no word holds a quote
    return literal_column("finding_words").bool_op("MATCH")(literal(sought))
