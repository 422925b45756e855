"""Full text on the messages of findings: FTS5 on SQLite, a column with a GIN index on PostgreSQL, by the same words."""

from __future__ import annotations

import re
import string
from typing import Any

from sqlalchemy import ColumnElement, Select, case, column, func, literal, literal_column, select, table

from registry_auditor.store.columns import plain_text
from registry_auditor.store.tables import FindingRow

WORDS = table("finding_words", column("rowid"), column("finding_words"))
NUMBERS = table("finding_numbers", column("number"), column("finding_id"))

MOST = 16
"""Words of a question that are looked for."""
NEAR = 50_000
"""Of so many findings before the place in a list those with the words are found at once."""
BETWEEN = re.compile(rf"[\s{re.escape(string.punctuation)}]+")


def words(text: str) -> list[str]:
    """The words of a question, taken apart as those of the messages are."""
    return [word for word in BETWEEN.split(plain_text(text)) if word][:MOST]


def matching(text: str) -> ColumnElement[bool]:
    """On `findings`, in PostgreSQL: those whose message has all words of `text`."""
    indexed: ColumnElement[Any] = literal_column("findings.finding_words")
    return indexed.bool_op("@@")(func.plainto_tsquery(literal_column("'simple'"), " ".join(words(text))))


def numbers(text: str) -> Select[int]:
    """In SQLite: the numbers of the findings whose message has all words of `text`."""
    return select(WORDS.c.rowid).where(_match(text))


def ids(text: str) -> Select[str]:
    """In SQLite: the ids of these findings."""
    return select(NUMBERS.c.finding_id).where(NUMBERS.c.number.in_(numbers(text)))


def says(text: str, start: str | None, *, near: int = NEAR) -> ColumnElement[bool]:
    """On `findings`, in SQLite: whether the message of this one, which is older than `start`, has all words of `text`.

    Asked for one finding the index takes 0.1 ms: so it is asked for all that are near, and singly only beyond.
    """
    this = select(NUMBERS.c.number).where(NUMBERS.c.finding_id == FindingRow.id).correlate(FindingRow).scalar_subquery()
    newest = select(func.max(NUMBERS.c.number))
    first = newest if start is None else select(NUMBERS.c.number).where(NUMBERS.c.finding_id == start)
    last = func.coalesce(first.scalar_subquery(), newest.scalar_subquery())
    together = numbers(text).where(WORDS.c.rowid.between(last - near, last))
    alone = select(literal(1)).where(WORDS.c.rowid == this, _match(text)).exists()
    return case((this.between(last - near, last), this.in_(together)), else_=alone)


def _match(text: str) -> ColumnElement[bool]:
    sought = " ".join(f'"{word}"' for word in words(text))  # no word holds a quote
    return literal_column("finding_words").bool_op("MATCH")(literal(sought))
