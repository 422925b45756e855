"""Notices of finished audits: written with the verdict, kept until they were delivered or given up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, TextClause, func, select, update
from sqlalchemy.orm import Session

from registry_auditor.domain import NoticeState
from registry_auditor.store.cursors import cursor, place
from registry_auditor.store.engine import changed, insert, now, read_in_order
from registry_auditor.store.ids import uuid7
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.read import page
from registry_auditor.store.records import Notice, Page
from registry_auditor.store.traffic.tables import UNDELIVERED, NoticeRow

STATES: dict[NoticeState, tuple[ColumnElement[bool] | TextClause, ...]] = {
    NoticeState.WAITING: (NoticeRow.due_at.is_not(None),),
    NoticeState.SENT: (NoticeRow.sent_at.is_not(None),),
    NoticeState.GIVEN_UP: (NoticeRow.due_at.is_(None), UNDELIVERED),
}


class Notices(Part):
    """Notices; the verdict of an audit is what writes them."""

    def due(self, *, limit: int, lease_s: float) -> list[Notice]:
        """Notices to send now, oldest due first; for `lease_s` seconds no other sender gets them.

        Their `attempts` count this one, so that a notice that kills its sender is counted too.
        """
        return self._write(_due, limit=limit, lease_s=lease_s)

    def sent(self, notice_id: str) -> None:
        """Afterwards the notice is delivered."""
        self._write(_sent, notice_id)

    def failed(self, notice_id: str, problem: str, *, retry_at: datetime | None) -> None:
        """Afterwards the notice is due at `retry_at`, or given up; unless another sender has delivered it."""
        self._write(_failed, notice_id, problem, retry_at=retry_at)

    def list(
        self,
        *,
        limit: int = PAGE,
        after: str | None = None,
        target: str | None = None,
        state: NoticeState | None = None,
    ) -> Page[Notice]:
        """Notices, newest first."""
        return self._read(_notices, limit=limit, after=after, target=target, state=state)

    def totals(self) -> dict[NoticeState, int]:
        """How many notices there are in every state."""
        return self._read(_totals)


def add(session: Session, audit_id: str, targets: Iterable[str], time: datetime) -> None:
    """Afterwards each of `targets` is to hear of the audit, from `time` on."""
    values = [
        {"id": uuid7(), "target": target, "audit_id": audit_id, "queued_at": time, "due_at": time, "attempts": 0}
        for target in dict.fromkeys(targets)
    ]
    if values:
        session.execute(insert(session, NoticeRow), values)


def _due(session: Session, *, limit: int, lease_s: float) -> list[Notice]:
    time = now(session)
    free = (
        select(NoticeRow)
        .where(NoticeRow.due_at <= time)
        .order_by(NoticeRow.due_at, NoticeRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    read_in_order(session)
    taken = session.scalars(free).all()
    for row in taken:
        row.due_at, row.attempts = time + timedelta(seconds=lease_s), row.attempts + 1
    session.flush()
    return [_notice(row) for row in taken]


def _sent(session: Session, notice_id: str) -> None:
    this = update(NoticeRow).where(NoticeRow.id == notice_id, UNDELIVERED)
    changed(session, this.values(sent_at=now(session), due_at=None, problem=None))


def _failed(session: Session, notice_id: str, problem: str, *, retry_at: datetime | None) -> None:
    this = update(NoticeRow).where(NoticeRow.id == notice_id, UNDELIVERED)
    changed(session, this.values(due_at=retry_at, problem=problem))


def _notices(
    session: Session, *, limit: int, after: str | None, target: str | None, state: NoticeState | None
) -> Page[Notice]:
    conditions: list[ColumnElement[bool] | TextClause] = list(STATES[state]) if state else []
    if target:
        conditions.append(NoticeRow.target == target)
    if after is not None:
        conditions.append(NoticeRow.id < place(after, "notices", str)[0])
    statement = select(NoticeRow).where(*conditions).order_by(NoticeRow.id.desc()).limit(limit + 1)
    found = [_notice(row) for row in session.scalars(statement)]
    return page(found, limit, lambda item: cursor("notices", item.id))


def _totals(session: Session) -> dict[NoticeState, int]:
    count = select(func.count()).select_from(NoticeRow)
    return {state: session.scalars(count.where(*conditions)).one() for state, conditions in STATES.items()}


def _notice(row: NoticeRow) -> Notice:
    return Notice(
        id=row.id,
        target=row.target,
        audit=row.audit_id,
        queued_at=row.queued_at,
        due_at=row.due_at,
        attempts=row.attempts,
        sent_at=row.sent_at,
        problem=row.problem,
    )
