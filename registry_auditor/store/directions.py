"""Directions as rows: lists of them, single ones by their place, and how strong the others of their matrix are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry_auditor.errors import NotFound
from registry_auditor.store import read
from registry_auditor.store.filters import DirectionFilters
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.records import Page, StoredDirection
from registry_auditor.store.search import spaces
from registry_auditor.store.tables import AuditRunRow, DirectionRow, RunBankRow

MOST = 20_000
"""Strengths that are read for one audit: 100 layers with ten matrices of twenty."""


@dataclass(frozen=True)
class Strength:
    """How strong one direction is."""

    tensor: str
    layer: int | None
    role: str
    rank: int
    strength: float


class Directions(Part):
    """Directions without their vectors."""

    def list(
        self, *, limit: int = PAGE, after: str | None = None, **filters: Unpack[DirectionFilters]
    ) -> Page[StoredDirection]:
        """Directions, strongest first."""
        return self._read(read.directions, limit=limit, after=after, **filters)

    def get(self, bank: str, ordinal: int) -> StoredDirection:
        """The direction in this row of a bank. Raises NotFound."""
        found = self._read(spaces.directions, [(bank, ordinal)])
        if (bank, ordinal) not in found:
            raise NotFound(f"there is no direction {ordinal} in a bank {bank[:64]!r}: see `directions list`")
        return found[bank, ordinal]

    def strengths(self, audit_id: str) -> Sequence[Strength]:
        """Of every direction of an audit, the weakest of very many left out; without what they say, which is long."""
        return self._read(_strengths, audit_id)

    def siblings(self, direction: StoredDirection) -> Sequence[float]:
        """The strengths of all directions of the same matrix in the same bank, strongest first."""
        return self._read(_siblings, direction)


def _strengths(session: Session, audit_id: str) -> Sequence[Strength]:
    row = DirectionRow
    of_audit = select(RunBankRow.bank_sha256).join(AuditRunRow, AuditRunRow.run_id == RunBankRow.run_id)
    statement = (
        select(row.tensor, row.layer, row.role, row.rank, row.strength)
        .where(row.bank_sha256.in_(of_audit.where(AuditRunRow.audit_id == audit_id)))
        .distinct()  # two analyzers may have stored the same directions
        .order_by(row.rank, row.strength.desc())
        .limit(MOST)
    )
    return [Strength(*each) for each in session.execute(statement)]


def _siblings(session: Session, direction: StoredDirection) -> list[float]:
    row = DirectionRow
    of_matrix = (
        row.bank_sha256 == direction.bank,
        row.tensor == direction.site.tensor,
        row.side == direction.site.side,
    )
    found: Sequence[float] = session.scalars(select(row.strength).where(*of_matrix).order_by(row.rank)).all()
    return list(found)
