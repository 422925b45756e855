"""The orders of a list of findings, in pieces that an index can give: each kind of finding is a piece of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, literal, or_, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from registry_auditor.domain import FindingOrder, Severity
from registry_auditor.store.cursors import cursor, place
from registry_auditor.store.filters import Conditions
from registry_auditor.store.records import StoredFinding
from registry_auditor.store.tables import FindingRow

Kind = tuple[str | None, Severity]
"""Code and severity of findings; None: whatever their code."""
Place = tuple[Any, ...]
"""The keys of the last finding of a page, its id last."""
Id = FindingRow.id

KEYS: dict[FindingOrder, tuple[type | tuple[type, ...], ...]] = {
    FindingOrder.NEWEST: (str,),
    FindingOrder.SEVERITY: (int, str),
    FindingOrder.SCORE: ((float, type(None)), str),
    FindingOrder.FPR: ((float, type(None)), str),
}


def final(order: FindingOrder, of: Any = FindingRow) -> tuple[ColumnElement[Any], ...]:
    """What any set of findings is sorted by; `of` has their columns."""
    orders: dict[FindingOrder, tuple[ColumnElement[Any], ...]] = {
        FindingOrder.NEWEST: (of.id.desc(),),
        FindingOrder.SEVERITY: (_rank(of.severity).desc(), of.id.desc()),
        FindingOrder.SCORE: (of.score.is_(None), of.score.desc(), of.id.desc()),
        FindingOrder.FPR: (of.fpr.is_(None), of.fpr.asc(), of.id.asc()),
    }
    return orders[order]


class Piece(NamedTuple):
    """Some of a list, in its order."""

    conditions: Conditions
    order: tuple[ColumnElement[Any], ...]
    turn: int = 0
    """Pieces of a later turn come after all of this one; those of one turn are sorted together."""


def next_of(order: FindingOrder, last: StoredFinding) -> str:
    """How to go on after `last`."""
    found = last.finding
    keys: dict[FindingOrder, Place] = {
        FindingOrder.NEWEST: (),
        FindingOrder.SEVERITY: (found.severity.weight,),
        FindingOrder.SCORE: (found.score,),
        FindingOrder.FPR: (found.fpr,),
    }
    return cursor(f"findings by {order}", *keys[order], last.id)


def place_of(order: FindingOrder, after: str | None) -> Place | None:
    """What `next_of` has noted. Raises UsageError for what continues another list."""
    return None if after is None else place(after, f"findings by {order}", *KEYS[order])


def whole(order: FindingOrder, last: Place | None) -> Piece:
    """All of the list in one piece, which is sorted to be read."""
    if last is None:
        return Piece([], final(order))
    if order is FindingOrder.NEWEST:
        return Piece([_before(last[0])], final(order))
    if order is FindingOrder.SEVERITY:
        rank = _rank(FindingRow.severity)
        return Piece([or_(rank < last[0], and_(rank == last[0], _before(last[1])))], final(order))
    return Piece([or_(*(and_(*piece.conditions) for piece in _measured(order, last)))], final(order))


def pieces(order: FindingOrder, last: Place | None, kinds: Iterable[Kind] | None) -> list[Piece]:
    """The list in pieces, each of which an index gives in its order; by score and belief, whatever the kinds."""
    if order in (FindingOrder.SCORE, FindingOrder.FPR):
        return list(_measured(order, last))
    if order is FindingOrder.NEWEST:
        past = [] if last is None else [_before(last[0])]
        every: list[Conditions] = [[]] if kinds is None else [of_kind(kind) for kind in kinds]
        return [Piece([*each, *past], (Id.desc(),)) for each in every]
    return list(_by_severity(last, kinds))


def _by_severity(last: Place | None, kinds: Iterable[Kind] | None) -> Iterator[Piece]:
    for kind in [(None, severity) for severity in Severity] if kinds is None else kinds:
        weight = kind[1].weight
        if last is None or weight < last[0]:
            yield Piece(of_kind(kind), (Id.desc(),), -weight)
        elif weight == last[0]:
            yield Piece([*of_kind(kind), _before(last[1])], (Id.desc(),), -weight)


def _measured(order: FindingOrder, last: Place | None) -> Iterator[Piece]:
    """Those with a number, then those without."""
    column: InstrumentedAttribute[float | None]
    column, falls = (FindingRow.score, True) if order is FindingOrder.SCORE else (FindingRow.fpr, False)
    ordered = (column.desc(), Id.desc()) if falls else (column.asc(), Id.asc())
    rest = (Id.desc(),) if falls else (Id.asc(),)
    if last is None:
        yield Piece([column.is_not(None)], ordered)
        yield Piece([column.is_(None)], rest, 1)
    elif last[0] is None:
        yield Piece([column.is_(None), _before(last[1]) if falls else literal(last[1], Id.type) < Id], rest)
    else:
        here, there = tuple_(column, Id), tuple_(literal(last[0], column.type), literal(last[1], Id.type))
        yield Piece([here < there if falls else here > there], ordered)
        yield Piece([column.is_(None)], rest, 1)


def of_kind(kind: Kind) -> Conditions:
    """On `findings`: those of this kind."""
    code, severity = kind
    return (
        [FindingRow.severity == severity]
        if code is None
        else [FindingRow.code == code, FindingRow.severity == severity]
    )


def _rank(severity: Any) -> ColumnElement[int]:
    return case({each: each.weight for each in Severity}, value=severity)


def _before(last: str) -> ColumnElement[bool]:
    return literal(last, Id.type) > Id
