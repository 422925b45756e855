"""Bank files as one can ask for them: a list, and the bytes of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from sqlalchemy import select
from sqlalchemy.orm import Session

from registry_auditor.errors import NotFound, StoreError
from registry_auditor.store.cursors import cursor, place
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.read import page
from registry_auditor.store.records import Page
from registry_auditor.store.search import spaces
from registry_auditor.store.search.vectors import Vectors, rows
from registry_auditor.store.tables import BankRow

COLUMNS = (
    BankRow.sha256,
    BankRow.basis,
    BankRow.dimension,
    BankRow.directions,
    BankRow.size_bytes,
    BankRow.created_at,
)
"""All but the sketches, which are large."""


@dataclass(frozen=True)
class BankFile:
    """A bank file by itself, whichever runs brought it forth."""

    sha256: str
    basis: str
    """Digest of the base; the base's reference where only that is known; '' without a base."""
    dimension: int
    directions: int
    size_bytes: int
    created_at: datetime


class BankFiles(Part):
    """The bank files."""

    def list(self, *, limit: int = PAGE, after: str | None = None, basis: str | None = None) -> Page[BankFile]:
        """Bank files by name; only those of one basis."""
        return self._read(_banks, limit=limit, after=after, basis=basis)

    def get(self, sha256: str) -> BankFile:
        """Raises NotFound."""
        return self._read(_bank, sha256)

    def read(self, sha256: str) -> bytes:
        """The bytes of a bank, checked against its name. Raises StoreError if they are missing or were changed."""
        return self._banks.read(sha256)

    def vectors(self, sha256: str) -> npt.NDArray[np.float32]:
        """The directions of a bank, one a row. Raises StoreError if the file is missing or was changed."""
        return self._banks.vectors(sha256)

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """The bytes of a bank, piece by piece; the last piece comes only if all of them are what was written.

        Raises StoreError, before the first piece, if they are missing, and before the last one if they were changed.
        """
        return self._banks.chunks(sha256)

    def rows(self, sha256: str, ordinals: Sequence[int]) -> Vectors:
        """These directions of a bank, one a row; the rest of its file is neither read nor checked.

        Raises NotFound if there is no such bank, StoreError if its file is missing or has another size.
        """
        file, _ = self._read(spaces.bank, sha256)
        found, read = rows(self._banks, [(file, ordinal) for ordinal in ordinals], dimension=file.dimension)
        if not read.all():
            raise StoreError(f"bank {sha256}: its file is missing or was changed; pass its place with --banks")
        return found


def _banks(session: Session, *, limit: int, after: str | None, basis: str | None) -> Page[BankFile]:
    statement = select(*COLUMNS).order_by(BankRow.sha256).limit(limit + 1)
    if basis is not None:
        statement = statement.where(BankRow.basis == basis)
    if after is not None:
        statement = statement.where(BankRow.sha256 > place(after, "banks", str)[0])
    found = [BankFile(*row) for row in session.execute(statement)]
    return page(found, limit, lambda file: cursor("banks", file.sha256))


def _bank(session: Session, sha256: str) -> BankFile:
    row = session.execute(select(*COLUMNS).where(BankRow.sha256 == sha256)).one_or_none()
    if row is None:
        raise NotFound(f"there is no bank {sha256[:100]}: /api/v1/direction-banks lists all")
    return BankFile(*row)
