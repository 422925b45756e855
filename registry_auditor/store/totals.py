"""Numbers for whoever watches the watchers: what waits, what runs, what was done."""

from __future__ import annotations

from sqlalchemy import Subquery, func, select
from sqlalchemy.orm import Session

from registry_auditor.domain import AuditState, Queue, Severity, Verdict
from registry_auditor.store.engine import now
from registry_auditor.store.messages import NoticeRow
from registry_auditor.store.outbox import STATES
from registry_auditor.store.records import Backlog, NoticeState, RunTotal
from registry_auditor.store.standing import counting
from registry_auditor.store.tables import UNFINISHED, AuditRow, AuditRunRow, FindingRow, ModelRow, RunRow


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
    """How many findings that count the newest finished audits of all models show together."""
    newest = _newest_finished()
    shown = (
        select(FindingRow.severity, func.count())
        .join(AuditRunRow, AuditRunRow.run_id == FindingRow.run_id)
        .join(newest, newest.c.id == AuditRunRow.audit_id)
        .join(AuditRow, AuditRow.id == newest.c.id)
        .join(ModelRow, ModelRow.id == AuditRow.model_id)
        .where(counting(session))
    )
    found = dict(session.execute(shown.group_by(FindingRow.severity)).all())
    return {severity: found.get(severity, 0) for severity in Severity}


def _newest_finished() -> Subquery:
    """Of each registry entry, the id of the newest audit that is done."""
    each = select(func.max(AuditRow.id).label("id")).join(ModelRow, ModelRow.id == AuditRow.model_id)
    return each.where(AuditRow.state == AuditState.DONE).group_by(ModelRow.within, ModelRow.name).subquery()
