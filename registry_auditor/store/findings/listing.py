"""Lists of findings, by everything that describes them and in several orders.

No question reads all findings to show a page of them. Where few can fit, those are looked at; otherwise indexes give
what fits in order, kind by kind, until the page is full. The number of statements does not depend on how much that is.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Unpack

from sqlalchemy import CTE, ColumnElement, ScalarSelect, Select, Subquery, case, func, literal, select, union_all
from sqlalchemy.orm import Session

from registry_auditor.domain import FindingOrder
from registry_auditor.store import read, rows
from registry_auditor.store.filters import Conditions, FindingFilters
from registry_auditor.store.findings.narrowing import FEW, Question, question
from registry_auditor.store.findings.ordering import Piece, final, next_of, pieces, place_of, whole
from registry_auditor.store.people.standing import with_standings
from registry_auditor.store.records import Page, StoredFinding
from registry_auditor.store.tables import AuditRow, AuditRunRow, FindingRow, ModelRow


def findings(
    session: Session, *, limit: int, after: str | None, few: int = FEW, **filters: Unpack[FindingFilters]
) -> Page[StoredFinding]:
    """Findings, newest first unless told; of an audit that was interrupted, those of the latest run of each step."""
    order = filters.get("sort") or FindingOrder.NEWEST
    last = place_of(order, after)
    asked = question(session, filters, few=few, start=last[-1] if last else None)
    if asked is None:
        return Page((), None)
    parts = [whole(order, last)] if asked.few else pieces(order, last, asked.kinds)
    if order is FindingOrder.FPR and not asked.few and filters.get("max_fpr") is not None:
        parts = parts[:-1]  # those that nobody has measured: they would all be looked at in vain
    if not parts:
        return Page((), None)
    top = _first_of(asked, parts, order, limit + 1)
    listed = read.findings_with_models(_first_audit(asked.shown)).join(top, top.c.id == FindingRow.id)
    # By the columns of `top`: SQLite would otherwise read all findings in that order to find its fifty.
    found = session.execute(listed.order_by(*final(order, top.c)))
    items = [read.stored_finding(row, audit_id, rows.model_ref(model)) for row, audit_id, model in found]
    shown = read.page(items, limit, lambda item: next_of(order, item))
    return Page(tuple(with_standings(session, shown.items)), shown.next)


def _part(asked: Question, part: Piece, limit: int) -> Select[Any, Any, Any, Any]:
    """The first findings of one piece of the list, by id and what it is sorted by."""
    keys = (FindingRow.id, FindingRow.severity, FindingRow.score, FindingRow.fpr)
    statement = select(*keys).where(*part.conditions, *asked.conditions)
    if asked.standing:
        statement = (
            statement.join(AuditRow, AuditRow.id == _first_audit(asked.shown))
            .join(ModelRow, ModelRow.id == AuditRow.model_id)
            .where(*asked.standing)
        )
    elif not asked.shown:
        # A failed attempt at a step that was made again is shown by no audit.
        shown = select(AuditRunRow.run_id).where(AuditRunRow.run_id == FindingRow.run_id).correlate(FindingRow)
        statement = statement.where(shown.exists())
    return statement.order_by(*part.order).limit(limit)


def _first_of(asked: Question, parts: list[Piece], order: FindingOrder, limit: int) -> Subquery:
    if len(parts) == 1:
        return _part(asked, parts[0], limit).subquery()
    given: list[CTE] = []
    for _, turn in groupby(sorted(parts, key=lambda part: part.turn), key=lambda part: part.turn):
        left = _left(given, limit)
        given += [select(_part(asked, part, limit).subquery()).limit(left).cte() for part in turn]
    together = union_all(*(select(part) for part in given)).subquery()
    return select(together).order_by(*final(order, together.c)).limit(limit).subquery()


def _left(given: list[CTE], limit: int) -> ColumnElement[int] | int:
    """How many are still to be found: where nothing is, no piece is read."""
    if not given:
        return limit
    found = sum((select(func.count()).select_from(part).scalar_subquery() for part in given), start=literal(0))
    return case((found < limit, limit - found), else_=0)


def _first_audit(shown: Conditions) -> ScalarSelect[str]:
    first = select(func.min(AuditRunRow.audit_id)).where(AuditRunRow.run_id == FindingRow.run_id, *shown)
    return first.correlate(FindingRow).scalar_subquery()
