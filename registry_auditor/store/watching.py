"""How far the changes of each registry have been followed."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry_auditor.store.engine import insert
from registry_auditor.store.messages import WatchedRow
from registry_auditor.store.records import Watched


def watched(session: Session, registry: str) -> Watched:
    """How far `registry` has been followed; all None if it never was."""
    row = session.get(WatchedRow, registry)
    return Watched(registry) if row is None else _watched(row)


def watched_all(session: Session) -> list[Watched]:
    """Every registry that was ever followed, by name."""
    return [_watched(row) for row in session.scalars(select(WatchedRow).order_by(WatchedRow.spec))]


def save_watched(session: Session, state: Watched) -> None:
    """Afterwards `state` is what is known of its registry."""
    columns = WatchedRow.__table__.c
    values = {columns[name]: value for name, value in asdict(state).items()}
    statement = insert(session, WatchedRow).values(values)
    session.execute(statement.on_conflict_do_update(index_elements=[columns.registry], set_=values))


def _watched(row: WatchedRow) -> Watched:
    return Watched(row.spec, row.cursor, row.plan, row.polled_at, row.full_at, row.problem)
