"""How far the changes of each registry have been followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry_auditor.store.engine import insert
from registry_auditor.store.part import Part
from registry_auditor.store.records import Watched
from registry_auditor.store.traffic.tables import WatchedRow


class WatchedRegistries(Part):
    """Registries that are followed."""

    def get(self, registry: str) -> Watched:
        """How far `registry` has been followed; all None if it never was."""
        return self._read(_get, registry)

    def list(self) -> Sequence[Watched]:
        """Every registry that was ever followed, by name."""
        return self._read(_list)

    def save(self, state: Watched) -> None:
        """Afterwards `state` is what is known of its registry."""
        self._write(_save, state)


def _get(session: Session, registry: str) -> Watched:
    row = session.get(WatchedRow, registry)
    return Watched(registry) if row is None else _watched(row)


def _list(session: Session) -> list[Watched]:
    return [_watched(row) for row in session.scalars(select(WatchedRow).order_by(WatchedRow.spec))]


def _save(session: Session, state: Watched) -> None:
    columns = WatchedRow.__table__.c
    values = {columns[name]: value for name, value in asdict(state).items()}
    statement = insert(session, WatchedRow).values(values)
    session.execute(statement.on_conflict_do_update(index_elements=[columns.registry], set_=values))


def _watched(row: WatchedRow) -> Watched:
    return Watched(row.spec, row.cursor, row.plan, row.polled_at, row.full_at, row.problem)
