"""Looking through a whole space: which directions deserve a closer look, and how near those are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from registry_auditor.errors import StoreError
from registry_auditor.store.banks import BankFolder
from registry_auditor.store.search.index import Space
from registry_auditor.store.search.vectors import Vectors, blocks, rows

Scores = npt.NDArray[Any]
"""For each position a number that is larger where the |cos| is, or seems; −1 where not to look."""

ROUNDS = (64, 256, 1024, 4096)
"""How many directions are looked at closely: first, whenever that may not do, and at most."""
PROMISED = 0.4
"""From which |cos| on a search by sketches overlooks nothing, unless it is told a lower one."""
OVERLOOKED = 1e-3
"""Chance that it does all the same, for one direction: half of it by half of the signs, half by all of them."""
ROUNDING = 1e-4
"""By which a product in single precision may differ from one after normalisation."""


@dataclass(frozen=True)
class Found:
    """A direction that was compared by its numbers."""

    position: int
    cosine: float
    vector: Vectors


def exact_scores(folder: BankFolder, space: Space, queries: Vectors) -> tuple[Scores, set[str]]:
    """|cos| of every direction to each query, a row a query; and the banks that could not be read."""
    scores = np.full((len(queries), space.size), -1, np.float32)
    lost = set()
    for file in space.files:
        first = space.span(file.sha256).start
        try:
            for block in blocks(folder, file):
                # A bank may hold anything: what is no number is no neighbour.
                with np.errstate(invalid="ignore", over="ignore"):
                    cosines = np.abs(queries @ block.T)
                scores[:, first : first + len(block)] = np.nan_to_num(cosines, nan=-1, posinf=-1)
                first += len(block)
        except StoreError:
            scores[:, space.span(file.sha256)] = -1
            lost.add(file.sha256)
    return scores, lost


def sketched_scores(space: Space, query: Vectors, *, floor: float) -> Scores:
    """How clearly the sketch of every direction says that it is not at a right angle to `query`.

    0 for some of those that it says to have a smaller |cos| than `floor`, or than PROMISED.
    """
    # Its tables take a quarter of a second to import, and most commands never search.
    from registry_auditor.numerics.sketch import BITS, clear_leans, least_lean, sketch

    wanted = sketch(query[None])[0]
    least = least_lean(_sought(floor), OVERLOOKED / 2, bits=BITS // 2)
    leans = [clear_leans(segment, wanted, least=least) for segment in space.segments]
    return np.concatenate([np.empty(0, np.int16), *leans])


class Candidates:
    """The directions of a space that may be near one vector, read from their files as far as needed."""

    def __init__(self, folder: BankFolder, space: Space, query: Vectors, scores: Scores, *, floor: float) -> None:
        """Only those whose |cos| to the unit vector `query` may be `floor` or more; of `scores` nothing is kept."""
        self._folder, self._space, self._query, self._floor = folder, space, query, floor
        self._exact = scores.dtype == np.float32
        self._order = _largest(scores, ROUNDS[-1], least=_least(floor, exact=self._exact))
        self._scores = scores[self._order]
        self._vectors: list[Vectors] = []
        self._cosines = np.empty(0, np.float64)
        self.lost: set[str] = set()
        """Banks that could not be read."""

    def nearest(self, count: int = ROUNDS[-1]) -> Iterator[Found]:
        """The `count` nearest, or all if there are fewer, nearest first; no more than ROUNDS says."""
        for depth in ROUNDS:
            self._deepen(depth)
            if len(self._cosines) == len(self._order) or self._settled(count):
                break
        magnitudes = self._magnitudes
        vectors = np.concatenate(self._vectors) if self._vectors else np.empty((0, len(self._query)), np.float32)
        for place in np.argsort(-magnitudes, kind="stable")[:count]:
            if magnitudes[place] < self._floor:  # as that of what could not be read is
                break
            yield Found(int(self._order[place]), float(self._cosines[place]), vectors[place])

    def _deepen(self, depth: int) -> None:
        positions = self._order[len(self._cosines) : depth]
        if not len(positions):
            return
        wanted = [self._space.place(int(position)) for position in positions]
        vectors, read = rows(self._folder, wanted, dimension=len(self._query))
        self.lost |= {file.sha256 for (file, _), was_read in zip(wanted, read, strict=True) if not was_read}
        with np.errstate(all="ignore"):  # whatever the numbers of a bank are
            cosines = (vectors @ self._query) / np.linalg.norm(vectors, axis=1)
        self._vectors.append(vectors)
        self._cosines = np.append(self._cosines, np.clip(cosines, -1, 1))

    @property
    def _magnitudes(self) -> npt.NDArray[np.float64]:
        magnitudes: npt.NDArray[np.float64] = np.nan_to_num(np.abs(self._cosines), nan=-1.0)
        return magnitudes

    def _settled(self, count: int) -> bool:
        """Whether none that was not looked at is likely to belong among the `count` nearest."""
        if len(self._cosines) < count or self._exact:
            return len(self._cosines) >= count
        from registry_auditor.numerics.sketch import overlooked

        last_but_enough = float(np.sort(self._magnitudes)[-count])
        next_lean = int(self._scores[len(self._cosines) - 1]) + 1
        return overlooked(max(last_but_enough, self._floor, _sought(self._floor)), next_lean) <= OVERLOOKED / 2


def _sought(floor: float) -> float:
    """The |cos| from which nothing may be overlooked, if nothing below `floor` is wanted."""
    return min(floor, PROMISED) or PROMISED


def _least(floor: float, *, exact: bool) -> float:
    """The score below which no |cos| is `floor` or more."""
    if exact:
        return floor - ROUNDING
    from registry_auditor.numerics.sketch import least_lean

    return least_lean(floor, OVERLOOKED / 2)


def _largest(scores: Scores, count: int, *, least: float) -> npt.NDArray[np.intp]:
    """Positions of the largest `count` scores, largest first, those below zero or `least` left out."""
    least = max(least, 0)
    if scores.dtype == np.int16:
        least = max(least, _cut(scores, count))
    order = np.flatnonzero(scores >= least)
    if count < len(order):
        order = order[np.argpartition(scores[order], len(order) - count)[-count:]]
    largest: npt.NDArray[np.intp] = order[np.argsort(-scores[order], kind="stable")]
    return largest


def _cut(scores: Scores, count: int) -> int:
    """The largest number that at least `count` scores reach, or 0: to count them nine times is quicker than to sort."""
    low, high = 0, 2**9
    while low < high:
        middle = (low + high + 1) // 2
        if np.count_nonzero(scores >= middle) >= count:
            low = middle
        else:
            high = middle - 1
    return low
