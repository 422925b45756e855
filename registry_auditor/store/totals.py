"""Numbers for whoever watches the watchers: what waits, what runs, what was done."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Subquery, and_, func, select, union
from sqlalchemy.orm import Session

from registry_auditor.domain import AuditState, Queue, Severity, Verdict
from registry_auditor.store.engine import now
from registry_auditor.store.filters import fits, models_like
from registry_auditor.store.messages import NoticeRow
from registry_auditor.store.opinions import Suppression
from registry_auditor.store.outbox import STATES
from registry_auditor.store.people import SuppressionRow
from registry_auditor.store.records import Backlog, NoticeState, RunTotal
from registry_auditor.store.standing import active, dismissed, suppression
from registry_auditor.store.tables import UNFINISHED, AuditRow, AuditRunRow, FindingRow, ModelRow, RunRow, TallyRow


def backlog(session: Session) -> list[Backlog]:
    """How much there is to do, for every queue."""
    due = AuditRow.due_at <= now(session)
    held = func.count().filter(AuditRow.state == AuditState.RUNNING, ~due)
    counted = select(AuditRow.queue, func.count() - held, held, func.min(AuditRow.due_at).filter(due))
    rows = session.execute(counted.where(UNFINISHED).group_by(AuditRow.queue))
    found = {row[0]: Backlog(*row) for row in rows}
    return [found.get(queue, Backlog(queue, 0, 0, None)) for queue in Queue]


def run_totals(session: Session) -> list[RunTotal]:
    """How often each version of each analyzer ended how, and how long that took together."""
    by = (RunRow.analyzer, RunRow.version, RunRow.status)
    grouped = select(*by, func.count(), func.sum(RunRow.seconds)).group_by(*by).order_by(*by)
    return [RunTotal(*row) for row in session.execute(grouped)]


def notice_totals(session: Session) -> dict[NoticeState, int]:
    """How many notices there are in every state."""
    count = select(func.count()).select_from(NoticeRow)
    return {state: session.scalars(count.where(*conditions)).one() for state, conditions in STATES.items()}


def verdicts(session: Session) -> dict[Verdict, int]:
    """How many models have which verdict in their newest finished audit."""
    newest = _newest_finished()
    counted = select(AuditRow.verdict, func.count()).join(newest, newest.c.id == AuditRow.id)
    found = dict(session.execute(counted.group_by(AuditRow.verdict)).all())
    return {verdict: found.get(verdict, 0) for verdict in Verdict}


def severities(session: Session) -> dict[Severity, int]:
    """How many findings that count the newest finished audits of all models show together.

    All of them, from the tallies of their runs, less those that people have set aside, which are few.
    """
    newest = _newest_finished()
    tallied = (
        select(TallyRow.severity, func.sum(TallyRow.findings))
        .join(AuditRunRow, AuditRunRow.run_id == TallyRow.run_id)
        .join(newest, newest.c.id == AuditRunRow.audit_id)
    )
    found = dict(session.execute(tallied.group_by(TallyRow.severity)).all())
    aside = _set_aside(session).subquery()
    less = dict(session.execute(select(aside.c.severity, func.count()).group_by(aside.c.severity)).all())
    return {severity: found.get(severity, 0) - less.get(severity, 0) for severity in Severity}


def _set_aside(session: Session) -> CompoundSelect[Any]:
    """Those that are dismissed or suppressed, of the findings that the newest finished audits show."""
    newest = select(_newest_finished()).cte("newest_finished")
    of_these = (
        select(AuditRunRow.audit_id, FindingRow.id, FindingRow.severity)
        .join(AuditRunRow, AuditRunRow.run_id == FindingRow.run_id)
        .where(AuditRunRow.audit_id.in_(select(newest.c.id)))
    )
    rules = [suppression(row) for row in session.scalars(select(SuppressionRow).where(*active(session)))]
    single = [rule.fingerprint for rule in rules if rule.fingerprint and not (rule.code or rule.model)]
    theirs = [FindingRow.fingerprint.in_(dismissed(session)), FindingRow.fingerprint.in_(single)]
    # A select for each rule: with all at once, every pattern would be compared with every finding.
    theirs += [_covered(session, rule) for rule in rules if rule.code or rule.model]
    return union(*(of_these.where(condition) for condition in theirs))


def _covered(session: Session, rule: Suppression) -> ColumnElement[bool]:
    """On `findings` and `audit_runs`: what `rule` covers."""
    conditions: list[ColumnElement[bool]] = []
    if rule.model is not None:
        of_models = select(AuditRow.id).join(ModelRow, ModelRow.id == AuditRow.model_id)
        conditions.append(AuditRunRow.audit_id.in_(of_models.where(models_like(session, rule.model))))
    if rule.code is not None:
        conditions.append(fits(session, FindingRow.code, rule.code))
    if rule.fingerprint is not None:
        conditions.append(FindingRow.fingerprint == rule.fingerprint)
    return and_(*conditions)


def _newest_finished() -> Subquery:
    """Of each registry entry, the id of the newest audit that is done."""
    each = select(func.max(AuditRow.id).label("id")).join(ModelRow, ModelRow.id == AuditRow.model_id)
    return each.where(AuditRow.state == AuditState.DONE).group_by(ModelRow.within, ModelRow.name).subquery()
