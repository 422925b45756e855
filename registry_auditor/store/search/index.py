"""The spaces that were searched last, kept up to date with the database."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine

from registry_auditor.errors import StoreError
from registry_auditor.store.banks import BankFolder
from registry_auditor.store.part import Part
from registry_auditor.store.search import sketches, spaces
from registry_auditor.store.search.spaces import Place, SpaceKey
from registry_auditor.store.search.vectors import BankFile, present

Words = npt.NDArray[np.uint64]

log = logging.getLogger(__name__)

EXACT_BYTES = 2**28
"""Vectors of at most so many bytes are all read for a search."""
KEPT_BYTES = 2**30
"""Of sketches: of eight million directions."""
KEPT_SPACES = 1000
"""Their lists of banks are small; each bank without a base is a space by itself."""
SEGMENT = 2**16
"""Directions whose sketches lie together in memory."""
RECHECK_S = 60.0
"""After this time a bank file that was missing is looked for again."""


@dataclass(frozen=True, eq=False)
class Space:
    """The banks of a space in a fixed order, so that one number, its position, says which direction is meant."""

    files: tuple[BankFile, ...]
    missing: int = 0
    """Directions whose bank file was not there."""
    segments: tuple[Words, ...] = ()
    """Their sketches in columns, as many together as there are positions; empty if they were not asked for."""

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """The position of the first direction of each bank, and at the end how many there are."""
        return np.cumsum([0, *(file.directions for file in self.files)])

    @property
    def size(self) -> int:
        """How many directions there are."""
        return int(self.starts[-1])

    @cached_property
    def vector_bytes(self) -> int:
        """What an exact search reads."""
        return sum(file.directions * file.row_bytes for file in self.files)

    @property
    def sketch_bytes(self) -> int:
        """Of memory."""
        return sum(segment.nbytes for segment in self.segments)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The place of each bank among `files`."""
        return {file.sha256: number for number, file in enumerate(self.files)}

    def place(self, position: int) -> tuple[BankFile, int]:
        """The bank and the row of a position."""
        number = int(np.searchsorted(self.starts, position, side="right")) - 1
        return self.files[number], position - int(self.starts[number])

    def place_of(self, position: int) -> Place:
        """The same, the bank by its digest."""
        file, ordinal = self.place(position)
        return file.sha256, ordinal

    def count(self, banks: Iterable[str]) -> int:
        """How many directions these banks have."""
        return sum(self.files[self.numbers[sha256]].directions for sha256 in banks)

    def span(self, sha256: str) -> slice:
        """The positions of a bank; none if it is not in the space."""
        number = self.numbers.get(sha256)
        return slice(0, 0) if number is None else slice(int(self.starts[number]), int(self.starts[number + 1]))

    def leave_out(self, scores: npt.NDArray[Any], banks: Iterable[str]) -> None:
        """Afterwards the directions of these banks have the score that says not to look at them."""
        for sha256 in banks:
            scores[self.span(sha256)] = -1

    def position(self, place: Place) -> int | None:
        """The position of a row of a bank; None if that is not in the space."""
        span = self.span(place[0])
        return span.start + place[1] if span.start + place[1] < span.stop else None


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    space: Space = field(default_factory=lambda: Space(()))
    state: tuple[object, ...] | None = None
    checked_at: float = 0.0


class Index(Part):
    """What a process knows of the spaces that it has searched; threads share it.

    Holds the sketches of the spaces used last, KEPT_BYTES of them, or of the one in use if those are more.
    """

    def __init__(self, engine: Engine, banks: BankFolder) -> None:
        """Nothing is read yet."""
        super().__init__(engine, banks)
        self._lock = threading.Lock()
        self._entries: OrderedDict[SpaceKey, _Entry] = OrderedDict()

    def space(self, key: SpaceKey, *, exact: bool | None) -> tuple[Space, bool]:
        """The space as it is in the database now, and whether to search it exactly; if not, it has its sketches.

        With `exact` None that depends on how much there is to read. Who asks while another thread loads the same
        space waits for that.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
        with entry.lock:
            state = self._read(spaces.state, key)
            late = entry.space.missing and time.monotonic() > entry.checked_at + RECHECK_S
            if state != entry.state or late:
                entry.space = self._refreshed(entry.space, self._read(spaces.files, key))
                entry.state, entry.checked_at = state, time.monotonic()
            if exact is None:
                exact = entry.space.vector_bytes <= EXACT_BYTES
            if not exact:
                entry.space = self._sketched(entry.space)
            space = entry.space
        self._forget()
        return space, exact

    def _refreshed(self, space: Space, files: list[BankFile]) -> Space:
        """`space` with the banks that are new to it, or were missing, at its end."""
        new = [file for file in files if file.sha256 not in space.numbers]
        there = [file for file in new if present(self._banks, file)]
        missing = sum(file.directions for file in new) - sum(file.directions for file in there)
        return Space((*space.files, *there), missing, space.segments)

    def _sketched(self, space: Space) -> Space:
        """`space` with the sketches of all its banks, without those that turn out not to be readable."""
        segments, covered = list(space.segments), sum(segment.shape[1] for segment in space.segments)
        if covered == space.size:
            return space
        files = list(space.files[: int(np.searchsorted(space.starts, covered))])
        for batch in _batches(space.files[len(files) :]):
            sketches = self._sketches(batch)
            readable = [file for file in batch if file.sha256 in sketches]
            files += readable
            if readable:
                _append(segments, [sketches[file.sha256] for file in readable])
        lost = space.size - sum(file.directions for file in files)
        return Space(tuple(files), space.missing + lost, tuple(segments))

    def _sketches(self, files: list[BankFile]) -> dict[str, Words]:
        known = self._read(sketches.kept, files)
        made = sketches.made(self._banks, [file for file in files if file.sha256 not in known])
        if made:
            try:
                self._write(sketches.keep, made)
            except StoreError as error:  # the search does not depend on it, only the next process does
                log.warning("sketches of %d banks were made and could not be kept: %s", len(made), error)
        return known | made

    def _forget(self) -> None:
        with self._lock:
            while len(self._entries) > 1 and (len(self._entries) > KEPT_SPACES or self._sketch_bytes() > KEPT_BYTES):
                self._entries.popitem(last=False)

    def _sketch_bytes(self) -> int:
        return sum(entry.space.sketch_bytes for entry in self._entries.values())


def _batches(files: Sequence[BankFile]) -> Iterator[list[BankFile]]:
    """`files` in portions of about SEGMENT directions."""
    batch: list[BankFile] = []
    for file in files:
        batch.append(file)
        if sum(each.directions for each in batch) >= SEGMENT:
            yield batch
            batch = []
    if batch:
        yield batch


def _append(segments: list[Words], rows: list[Words]) -> None:
    """Add sketches as columns; a small last segment is joined to them, since many small ones would be slow."""
    columns = [each.T for each in rows]
    if segments and segments[-1].shape[1] < SEGMENT:
        columns.insert(0, segments.pop())
    joined = np.empty((len(columns[0]), sum(each.shape[1] for each in columns)), np.uint64)
    first = 0
    for each in columns:  # one by one: a small array is turned in the processor's cache
        joined[:, first : first + each.shape[1]] = each
        first += each.shape[1]
    segments.append(joined)
