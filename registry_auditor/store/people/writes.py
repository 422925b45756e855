"""The log of writes: who did what, and whether a request is a repetition.

A write by a person asks `repeated` first and calls `written` last, in one transaction: it happens once, and is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry_auditor.domain import Author, Written
from registry_auditor.errors import Conflict, UsageError
from registry_auditor.store.columns import plain
from registry_auditor.store.cursors import cursor, place
from registry_auditor.store.engine import alone, now
from registry_auditor.store.ids import uuid7
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.people.tables import WriteRow
from registry_auditor.store.read import page
from registry_auditor.store.records import Page


class Writes(Part):
    """Every change that a person or a program asked for."""

    def list(self, *, limit: int = PAGE, after: str | None = None) -> Page[Written]:
        """Writes, newest first."""
        return self._read(_writes, limit=limit, after=after)

    def replayed(self, by: Author) -> Written | None:
        """What this author wrote under the same key; None if nothing. Raises Conflict if it was another request."""
        return self._read(_replayed, by)


def repeated(session: Session, by: Author, action: str) -> str | None:
    """The target of what this author did under the same key; None if this is the first time, or without a key.

    The same request at the same moment elsewhere: one does it, the other waits here and learns what came of it.
    Raises Conflict if the key was used for another request.
    """
    if by.key is None:
        return None
    alone(session, by.name, by.key)
    before = _replayed(session, by)
    if before is None:
        return None
    if before.action != action:
        raise _conflict(by, before)
    return before.target


def written(
    session: Session, by: Author, action: str, *, target: str, detail: Mapping[str, Any] | None = None
) -> datetime:
    """Afterwards the log says who did it; returns when. `detail` says what was said, without secrets."""
    time = now(session)
    said = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in (detail or {}).items()}
    session.add(
        WriteRow(
            id=uuid7(),
            at=time,
            by=by.name,
            action=action,
            target=target,
            detail=plain(said),
            key=by.key,
            request=by.request,
        )
    )
    session.flush()
    return time


def require_ahead(expires_at: datetime, time: datetime) -> None:
    """Raise UsageError unless `expires_at` is later than `time`, and says in which time zone."""
    if expires_at.tzinfo is None:
        raise UsageError(f"the expiry {expires_at.isoformat()} has no time zone: add Z or an offset such as +01:00")
    if expires_at <= time:
        raise UsageError(f"the expiry {expires_at.isoformat()} is past: name a later time")


def _writes(session: Session, *, limit: int, after: str | None) -> Page[Written]:
    statement = select(WriteRow).order_by(WriteRow.id.desc()).limit(limit + 1)
    if after is not None:
        statement = statement.where(WriteRow.id < place(after, "writes", str)[0])
    found = [_written(row) for row in session.scalars(statement)]
    return page(found, limit, lambda item: cursor("writes", item.id))


def _replayed(session: Session, by: Author) -> Written | None:
    if by.key is None:
        return None
    row = session.scalar(select(WriteRow).where(WriteRow.by == by.name, WriteRow.key == by.key))
    if row is None:
        return None
    if row.request != by.request:
        raise _conflict(by, _written(row))
    return _written(row)


def _conflict(by: Author, before: Written) -> Conflict:
    return Conflict(
        f"the idempotency key {by.key!r} was used by {by.name} for another request ({before.action} at "
        f"{before.at:%Y-%m-%d %H:%M:%S} UTC): take a fresh key for each request"
    )


def _written(row: WriteRow) -> Written:
    return Written(id=row.id, at=row.at, by=row.by, action=row.action, target=row.target, detail=row.detail)
