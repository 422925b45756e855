"""What narrows a question about findings: which conditions leave so few that they are looked at one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, false, func, select, tuple_, union_all
from sqlalchemy.orm import Session

from registry_auditor.domain import FindingOrder, Severity, TriageState
from registry_auditor.store import filters as only
from registry_auditor.store import read, wording
from registry_auditor.store.filters import APART, Conditions, FindingFilters
from registry_auditor.store.ids import first_at
from registry_auditor.store.ordering import Kind, of_kind
from registry_auditor.store.standing import counting, of_state
from registry_auditor.store.tables import AuditRunRow, FindingRow, KindRow

FEW = 2000
"""Runs or findings that are looked at one by one. Where more fit, a page of them is soon full."""
MOST_KINDS = 64
"""Of more kinds, findings are read in order and compared with them."""
BY_NUMBER = (FindingOrder.SCORE, FindingOrder.FPR)


@dataclass(frozen=True)
class Narrowing:
    """One filter, in both ways to apply it."""

    fitting: Select[Any] | None
    """What is counted to tell whether few fit; None where that is known."""
    few: Conditions
    """On `findings`, as an index starts from it."""
    many: Conditions
    """On `findings`, as it is asked of one after the other."""


@dataclass(frozen=True)
class Question:
    """What is asked about findings, and how it is answered."""

    shown: Conditions
    """On `audit_runs`: of the audits asked for."""
    conditions: Conditions
    """On `findings`."""
    standing: Conditions
    """On `findings` and `models`."""
    kinds: tuple[Kind, ...] | None
    """What is to be read kind by kind; None: it need not be."""
    few: bool
    """Whether `conditions` leave few, which an index finds."""


def question(session: Session, filters: FindingFilters, *, few: int = FEW) -> Question | None:
    """What `filters` ask; None if nothing can fit. Raises NotFound if there is no such audit."""
    shown = _shown(session, filters)
    kinds = _kinds(session, filters)
    if kinds == ():
        return None
    narrowings = _narrowings(session, filters, shown, kinds)
    counts = iter(_counts(session, [each.fitting for each in narrowings if each.fitting is not None], few))
    fitting = [0 if each.fitting is None else next(counts) for each in narrowings]
    if any(each.fitting is not None and not count for each, count in zip(narrowings, fitting, strict=True)):
        return None
    is_few = any(count <= few for count in fitting)
    conditions = _plain(session, filters)
    for each, count in zip(narrowings, fitting, strict=True):
        conditions += each.few if count <= few else each.many
    if kinds is not None and (is_few or len(kinds) > MOST_KINDS or filters.get("sort") in BY_NUMBER):
        conditions, kinds = [*conditions, _of_kinds(session, kinds)], None
    return Question(shown, conditions, _standing(session, filters), kinds, is_few)


def _shown(session: Session, filters: FindingFilters) -> Conditions:
    audit_id = filters.get("audit_id")
    return only.of_shown(
        session,
        audit_id=read.audit(session, audit_id).id if audit_id else None,
        model_glob=filters.get("model_glob"),
        base_glob=filters.get("base_glob"),
    )


def _kinds(session: Session, filters: FindingFilters) -> tuple[Kind, ...] | None:
    """The kinds that fit; None if all do."""
    severity, code, analyzer = filters.get("severity"), filters.get("code") or None, filters.get("analyzer") or None
    severities = [each for each in Severity if severity is None or each.at_least(severity)]
    if code is None and analyzer is None:
        return None if severity is None else tuple((None, each) for each in severities)
    known = select(KindRow.code, KindRow.severity).where(KindRow.severity.in_(severities)).distinct()
    if code is not None:
        known = known.where(only.fits(session, KindRow.code, code))
    if analyzer is not None:
        known = known.where(KindRow.analyzer == analyzer)
    return tuple((found, each) for found, each in session.execute(known.order_by(KindRow.code, KindRow.severity)))


def _narrowings(
    session: Session, filters: FindingFilters, shown: Conditions, kinds: tuple[Kind, ...] | None
) -> list[Narrowing]:
    runs = select(AuditRunRow.run_id).where(*shown)
    is_shown = runs.where(AuditRunRow.run_id == FindingRow.run_id).correlate(FindingRow).exists()
    found = [Narrowing(runs, [FindingRow.run_id.in_(runs)], [is_shown])] if shown else []
    if filters.get("audit_id"):
        found = [replace(found[0], fitting=None)]
    if (max_fpr := filters.get("max_fpr")) is not None:
        low = FindingRow.fpr <= max_fpr
        found.append(
            Narrowing(select(FindingRow.id).where(low), [low], [only.unindexed(session, FindingRow.fpr) <= max_fpr])
        )
    if text := filters.get("text"):
        found.append(_spoken(session, text))
    if kinds is not None and len(kinds) <= MOST_KINDS and filters.get("sort") in BY_NUMBER:
        each = [select(FindingRow.id).where(*of_kind(kind)).limit(FEW + 1) for kind in kinds]
        of_kinds = select(union_all(*(select(one.subquery()) for one in each)).subquery())
        found.append(Narrowing(of_kinds, [FindingRow.id.in_(of_kinds)], []))
    state = filters.get("state")
    if state is not None and state is not TriageState.NOT_SET:
        found.append(Narrowing(None, [of_state(session, state)], []))
    if fingerprint := filters.get("fingerprint"):
        found.append(Narrowing(None, [FindingRow.fingerprint == fingerprint], []))
    return found


def _spoken(session: Session, text: str) -> Narrowing:
    if not wording.words(text):
        return Narrowing(select(FindingRow.id).where(false()), [], [])
    if session.get_bind().dialect.name == "postgresql":
        said = wording.matching(text)
        return Narrowing(select(FindingRow.id).where(said), [said], [said])
    return Narrowing(wording.numbers(text), [FindingRow.id.in_(wording.ids(text))], [wording.says(text)])


def _plain(session: Session, filters: FindingFilters) -> Conditions:
    """What is asked of one finding after the other."""
    conditions: Conditions = []
    if analyzer := filters.get("analyzer"):
        conditions.append(FindingRow.analyzer == analyzer)
    if (calibrated := filters.get("calibrated")) is not None:
        fpr = only.unindexed(session, FindingRow.fpr)
        conditions.append(fpr.is_not(None) if calibrated else fpr.is_(None))
    if filters.get("state") is TriageState.NOT_SET:
        conditions.append(of_state(session, TriageState.NOT_SET))
    found_at = only.unindexed(session, FindingRow.created_at)
    if since := filters.get("since"):
        conditions += [found_at >= since, FindingRow.id >= first_at(since - APART)]
    if until := filters.get("until"):
        conditions += [found_at < until, FindingRow.id < first_at(until + APART)]
    return conditions


def _standing(session: Session, filters: FindingFilters) -> Conditions:
    counts = filters.get("counts")
    if counts is None:
        return []
    return [counting(session) if counts else ~counting(session)]


def _of_kinds(session: Session, kinds: tuple[Kind, ...]) -> ColumnElement[bool]:
    severity, code = (only.unindexed(session, column) for column in (FindingRow.severity, FindingRow.code))
    found: ColumnElement[bool] = tuple_(code, severity).in_(kinds)
    if all(kind[0] is None for kind in kinds):
        found = severity.in_([kind[1] for kind in kinds])
    return found


def _counts(session: Session, fitting: list[Select[Any]], few: int) -> list[int]:
    """How many rows each has, up to one more than `few`; in one statement."""
    if not fitting:
        return []
    limited = [each.limit(few + 1).subquery() for each in fitting]
    counts = [select(func.count()).select_from(each).scalar_subquery() for each in limited]
    return list(session.execute(select(*counts)).one())
