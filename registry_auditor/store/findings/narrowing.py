"""What narrows a question about findings: which conditions leave so few that they are looked at one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, select
from sqlalchemy.orm import Session

from registry_auditor.domain import FindingOrder, Severity, TriageState
from registry_auditor.store import filters as only
from registry_auditor.store import read
from registry_auditor.store.engine import one_by_one
from registry_auditor.store.filters import APART, Conditions, FindingFilters
from registry_auditor.store.findings import wording
from registry_auditor.store.findings.ordering import Kind
from registry_auditor.store.ids import first_at
from registry_auditor.store.people.standing import counting, of_state
from registry_auditor.store.tables import AuditRunRow, FindingRow, KindRow

FEW = 5000
"""Findings that are looked at one by one: 20 ms. Where more of a million fit, one in 200 does, and a page is full
after looking at 10,000 in their order, which takes as long."""
A_RUN = 5
"""Of runs, a fifth as many are few: one has some findings, which lie together and are read at once."""
MOST_KINDS = 10
"""Of more kinds, findings are read in order and compared with them: each adds a millisecond to the statement."""
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
    share: int = 1
    """How many fewer than findings are few."""


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


def question(session: Session, filters: FindingFilters, *, few: int, start: str | None) -> Question | None:
    """What `filters` ask of findings older than `start`; None if nothing can fit. Raises NotFound for an audit."""
    shown = _shown(session, filters)
    kinds = _kinds(session, filters)
    if kinds == ():
        return None
    narrowings = _narrowings(session, filters, shown, start)
    if kinds is not None and (len(kinds) > MOST_KINDS or filters.get("sort") in BY_NUMBER):
        narrowings, kinds = [*narrowings, _of_kinds(session, kinds)], None
    counts = _counts(session, narrowings, few)
    if 0 in counts:
        return None
    fits = [count is None or count <= few // each.share for each, count in zip(narrowings, counts, strict=True)]
    conditions = _plain(session, filters)
    for each, is_few in zip(narrowings, fits, strict=True):
        conditions += each.few if is_few else each.many
    if kinds is not None and any(fits):
        conditions, kinds = [*conditions, *_of_kinds(session, kinds).many], None
    return Question(shown, conditions, _standing(session, filters), kinds, any(fits))


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


def _narrowings(session: Session, filters: FindingFilters, shown: Conditions, start: str | None) -> list[Narrowing]:
    found = [_of_runs(shown)] if shown else []
    if filters.get("audit_id"):
        found = [replace(found[0], fitting=None)]
    if (max_fpr := filters.get("max_fpr")) is not None:
        found.append(_narrowing(FindingRow.fpr <= max_fpr, only.unindexed(session, FindingRow.fpr) <= max_fpr))
    if text := filters.get("text"):
        found.append(_spoken(session, text, start))
    state = filters.get("state")
    if state is not None and state is not TriageState.NOT_SET:
        found.append(Narrowing(None, [of_state(session, state)], []))
    if fingerprint := filters.get("fingerprint"):
        found.append(Narrowing(None, [FindingRow.fingerprint == fingerprint], []))
    return found


def _narrowing(few: ColumnElement[bool], many: ColumnElement[bool]) -> Narrowing:
    return Narrowing(select(FindingRow.id).where(few), [few], [many])


def _of_runs(shown: Conditions) -> Narrowing:
    runs = select(AuditRunRow.run_id)
    # By its run, whatever `shown` asks: PostgreSQL takes any pattern to fit one model only, and would begin there.
    this = runs.where(AuditRunRow.run_id == FindingRow.run_id, *(each.is_(True) for each in shown))
    runs = runs.where(*shown)
    return Narrowing(runs, [FindingRow.run_id.in_(runs)], [one_by_one(this.correlate(FindingRow))], share=A_RUN)


def _of_kinds(session: Session, kinds: tuple[Kind, ...]) -> Narrowing:
    # Each code with each severity: of pairs that are no kinds there are no findings.
    codes = sorted({code for code, _ in kinds if code is not None})
    severities = sorted({severity for _, severity in kinds})

    def are(code: Any, severity: Any) -> ColumnElement[bool]:
        return and_(severity.in_(severities), *([code.in_(codes)] if codes else []))

    code, severity = FindingRow.code, FindingRow.severity
    return _narrowing(are(code, severity), are(only.unindexed(session, code), only.unindexed(session, severity)))


def _spoken(session: Session, text: str, start: str | None) -> Narrowing:
    if not wording.words(text):
        return Narrowing(select(FindingRow.id).where(false()), [], [])
    if session.get_bind().dialect.name == "postgresql":
        said = wording.matching(text)
        # The newest are counted: where a word is frequent, they are the next at hand.
        return Narrowing(select(FindingRow.id).where(said).order_by(FindingRow.id.desc()), [said], [said])
    return Narrowing(wording.numbers(text), [FindingRow.id.in_(wording.ids(text))], [wording.says(text, start)])


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
        conditions += [found_at >= since, FindingRow.id >= first_at(since, apart=-APART)]
    if until := filters.get("until"):
        conditions += [found_at < until, FindingRow.id < first_at(until, apart=APART)]
    return conditions


def _standing(session: Session, filters: FindingFilters) -> Conditions:
    counts = filters.get("counts")
    if counts is None:
        return []
    return [counting(session) if counts else ~counting(session)]


def _counts(session: Session, narrowings: list[Narrowing], few: int) -> list[int | None]:
    """How many rows each has, up to one more than are few, in one statement; None for those that nobody counts."""
    limited = [each.fitting.limit(few // each.share + 1) for each in narrowings if each.fitting is not None]
    if not limited:
        return [None] * len(narrowings)
    counts = [select(func.count()).select_from(each.subquery()).scalar_subquery() for each in limited]
    found = iter(session.execute(select(*counts)).one())
    return [None if each.fitting is None else next(found) for each in narrowings]
