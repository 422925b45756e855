"""Analyzers as installations that audit have them: the web application shows them without importing their code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry_auditor.errors import NotFound
from registry_auditor.store.catalogue import AnalyzerInfo
from registry_auditor.store.columns import plain
from registry_auditor.store.engine import insert, now
from registry_auditor.store.part import Part
from registry_auditor.store.people.tables import AnalyzerRow


class Analyzers(Part):
    """What workers can run."""

    def save(self, installed: Iterable[AnalyzerInfo]) -> None:
        """Afterwards these versions are known, seen now; others stay."""
        self._write(_save, installed)

    def list(self) -> Sequence[AnalyzerInfo]:
        """The newest version of each, by name."""
        return self._read(_newest)

    def get(self, name: str, version: int | None = None) -> AnalyzerInfo:
        """This version, or the newest. Raises NotFound."""
        return self._read(_one, name, version)


def _save(session: Session, installed: Iterable[AnalyzerInfo]) -> None:
    time = now(session)
    values = [
        {
            "name": each.name,
            "version": each.version,
            "needs": plain(each.needs),
            "summary": each.summary,
            "manual": each.manual,
            "schema": plain(each.schema),
            "seen_at": time,
        }
        # In one order everywhere: two workers that start at once must not wait for each other.
        for each in sorted(installed, key=lambda each: (each.name, each.version))
    ]
    if not values:
        return
    statement = insert(session, AnalyzerRow)
    told = {name: statement.excluded[name] for name in ("needs", "summary", "manual", "schema", "seen_at")}
    session.execute(statement.on_conflict_do_update(index_elements=["name", "version"], set_=told), values)


def _newest(session: Session) -> Sequence[AnalyzerInfo]:
    # A broken installation is version 0: where another one has it sound, that is the one to show.
    newest = select(AnalyzerRow.name, func.max(AnalyzerRow.version).label("version")).group_by(AnalyzerRow.name)
    each = newest.subquery()
    rows = session.scalars(
        select(AnalyzerRow)
        .join(each, (each.c.name == AnalyzerRow.name) & (each.c.version == AnalyzerRow.version))
        .order_by(AnalyzerRow.name)
    )
    return [_info(row) for row in rows]


def _one(session: Session, name: str, version: int | None) -> AnalyzerInfo:
    named = select(AnalyzerRow).where(AnalyzerRow.name == name).order_by(AnalyzerRow.version.desc()).limit(1)
    row = session.scalar(named if version is None else named.where(AnalyzerRow.version == version))
    if row is None:
        wanted = name if version is None else f"{name} version {version}"
        raise NotFound(f"no installation that audits has shown the analyzer {wanted[:200]!r}")
    return _info(row)


def _info(row: AnalyzerRow) -> AnalyzerInfo:
    return AnalyzerInfo(row.name, row.version, tuple(row.needs), row.summary, row.manual, row.schema, row.seen_at)
