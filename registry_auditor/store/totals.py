"""Numbers for whoever watches the watchers: what waits, what runs, what was done."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry_auditor.domain import AuditState, Queue
from registry_auditor.store.engine import now
from registry_auditor.store.records import Backlog, RunTotal
from registry_auditor.store.tables import UNFINISHED, AuditRow, RunRow


def backlog(session: Session) -> list[Backlog]:
    """How much there is to do, for every queue."""
    due = (AuditRow.due_at <= now(session)).label("due")
    grouped = select(AuditRow.queue, AuditRow.state, due, func.count(), func.min(AuditRow.due_at))
    counted = session.execute(grouped.where(UNFINISHED).group_by(AuditRow.queue, AuditRow.state, due)).all()
    found = []
    for queue in Queue:
        groups = [group for group in counted if group[0] is queue]
        running = sum(count for _, state, is_due, count, _ in groups if state is AuditState.RUNNING and not is_due)
        waiting = sum(count for *_, count, _ in groups) - running
        oldest = min((first for *_, is_due, _, first in groups if is_due), default=None)
        found.append(Backlog(queue, waiting, running, oldest))
    return found


def run_totals(session: Session) -> list[RunTotal]:
    """How often each version of each analyzer ended how, and how long that took together."""
    by = (RunRow.analyzer, RunRow.version, RunRow.status)
    grouped = select(*by, func.count(), func.sum(RunRow.seconds)).group_by(*by).order_by(*by)
    return [RunTotal(*row) for row in session.execute(grouped)]
