"""Numbers for whoever watches the watchers: what waits, what runs, what was done."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry_auditor.domain import AuditState, Queue
from registry_auditor.store.engine import now
from registry_auditor.store.messages import NoticeRow
from registry_auditor.store.outbox import STATES
from registry_auditor.store.records import Backlog, NoticeState, RunTotal
from registry_auditor.store.tables import UNFINISHED, AuditRow, RunRow


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
