"""The sketches of banks: kept in the database, made from the bank file where they are not."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from registry_auditor.errors import StoreError
from registry_auditor.store.banks import BankFolder
from registry_auditor.store.search.vectors import BankFile
from registry_auditor.store.tables import BankRow

Words = npt.NDArray[np.uint64]

log = logging.getLogger(__name__)

SKETCH_BYTES = 128
"""Of one direction."""


def kept(session: Session, files: Sequence[BankFile]) -> dict[str, Words]:
    """The sketches of those of `files` that have some in the database, a row a direction."""
    statement = select(BankRow.sha256, BankRow.sketches).where(
        BankRow.sha256.in_([file.sha256 for file in files]), BankRow.sketches.is_not(None)
    )
    directions = {file.sha256: file.directions for file in files}
    return {
        sha256: np.frombuffer(stored, "<u8").reshape(-1, SKETCH_BYTES // 8)
        for sha256, stored in session.execute(statement)
        if stored is not None and len(stored) == SKETCH_BYTES * directions[sha256]
    }


def made(folder: BankFolder, files: Sequence[BankFile]) -> dict[str, Words]:
    """The sketches of `files`, from what is in them; those that are missing or were changed are left out."""
    from registry_auditor.numerics.sketch import sketch

    sketches = {}
    for file in files:
        try:
            sketches[file.sha256] = sketch(folder.vectors(file.sha256))
        except StoreError as error:
            log.warning("not searched: %s", error)
    return sketches


def keep(session: Session, sketches: dict[str, Words]) -> None:
    """Afterwards the database has these."""
    session.execute(
        update(BankRow),
        [{"sha256": sha256, "sketches": words.astype("<u8").tobytes()} for sha256, words in sketches.items()],
    )
