"""Direction search: which stored directions lie near this one, within one basis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt
from sqlalchemy import Engine

from registry_auditor.errors import NotFound, StoreError, UsageError
from registry_auditor.store import spaces
from registry_auditor.store.banks import BankFolder
from registry_auditor.store.index import Index, Space
from registry_auditor.store.neighbours import Hit, Nearest, merged, neighbours, unit
from registry_auditor.store.part import Part
from registry_auditor.store.records import StoredDirection
from registry_auditor.store.scan import Candidates, Scores, exact_scores, sketched_scores
from registry_auditor.store.spaces import SpaceKey
from registry_auditor.store.vectors import Vectors, rows

NEIGHBOURS = 10
"""How many are given when nobody says how many."""


@dataclass(frozen=True)
class _Wish:
    """One search: what to leave out, and how much to bring."""

    vector: Vectors
    key: SpaceKey
    limit: int
    min_cosine: float
    without: str | None
    exact: bool | None
    own: StoredDirection | None = None
    """The stored direction that is looked for, which is no neighbour of itself."""


class Search(Part):
    """Nearest directions by |cos|. Below `index.EXACT_BYTES` of vectors all are read; above, sketches point to some."""

    def __init__(self, engine: Engine, banks: BankFolder) -> None:
        """Threads share what was read for earlier searches."""
        super().__init__(engine, banks)
        self._index = Index(engine, banks)

    def nearest(
        self,
        bank: str,
        ordinal: int,
        *,
        limit: int = NEIGHBOURS,
        min_cosine: float = 0.0,
        exclude_model: str | None = None,
        exact: bool | None = None,
    ) -> Nearest:
        """The neighbours of a stored direction, which itself is left out, as is any repetition in its own models.

        Args:
            bank: The digest of its bank.
            ordinal: Its row.
            limit: How many at most.
            min_cosine: None with a smaller |cos|, 0..1.
            exclude_model: None of the models that fit this glob, `hf:org/name` or `hf:org/*`.
            exact: Compare with each by its numbers, whatever it takes, or (False) never; None: as it is quicker.

        Raises NotFound if there is no such direction, StoreError if its bank cannot be read.
        """
        file, key = self._read(spaces.bank, bank)
        own = self._read(spaces.directions, [(bank, ordinal)]).get((bank, ordinal))
        if own is None:
            raise NotFound(f"bank {bank[:12]} has no direction {ordinal}: `registry-auditor directions list` shows all")
        vectors, read = rows(self._banks, [(file, ordinal)], dimension=file.dimension)
        if not read.all():
            raise StoreError(f"bank {bank}: its file is missing or was changed; pass its place with --banks")
        return self._found(_Wish(unit(vectors[0]), key, limit, min_cosine, exclude_model, exact, own))

    def nearest_to(
        self,
        vector: npt.ArrayLike,
        *,
        basis: str,
        limit: int = NEIGHBOURS,
        min_cosine: float = 0.0,
        exclude_model: str | None = None,
        exact: bool | None = None,
    ) -> Nearest:
        """The neighbours of a vector of any length, among the directions over one base.

        `basis` is the digest of the base, the beginning of it, or its reference, with or without a revision; the
        rest is as for `nearest`. Raises UsageError for a vector that is zero, not finite or of another dimension
        than the directions there, and for a basis that is unknown or ambiguous.
        """
        direction = unit(vector)
        key = self._read(spaces.named, basis, len(direction))
        return self._found(_Wish(direction, key, limit, min_cosine, exclude_model, exact))

    def _found(self, wish: _Wish) -> Nearest:
        if wish.limit < 1 or not 0.0 <= wish.min_cosine <= 1.0:
            raise UsageError("a search wants a limit of at least 1, and a min_cosine from 0 to 1")
        space, exact = self._index.space(wish.key, exact=wish.exact)
        lost: set[str] = set()
        if exact:
            (scores,), lost = exact_scores(self._banks, space, wish.vector[None])
        else:
            scores = sketched_scores(space, wish.vector)
        self._leave_out(wish, space, scores)
        candidates = Candidates(self._banks, space, wish.vector, scores)
        hits = self._hits(wish, space, candidates)
        searched = int((scores >= 0).sum()) - space.count(candidates.lost)
        return Nearest(
            hits=neighbours(hits, searched=searched, dimension=wish.key.dimension),
            searched=searched,
            missing=space.missing + space.count(lost | candidates.lost),
            dimension=wish.key.dimension,
            basis=wish.key.bases[0],
            exact=exact,
        )

    def _leave_out(self, wish: _Wish, space: Space, scores: Scores) -> None:
        if wish.own is not None and (position := space.position((wish.own.bank, wish.own.ordinal))) is not None:
            scores[position] = -1
        if wish.without:
            # Whole banks, and before anything is ranked: a model is nearest to itself.
            for sha256 in self._read(spaces.only_of, wish.without):
                scores[space.span(sha256)] = -1

    def _hits(self, wish: _Wish, space: Space, candidates: Candidates) -> list[Hit]:
        own = None if wish.own is None else Hit(wish.own, 1.0, wish.vector)
        wanted = 2 * wish.limit
        while True:
            found = list(candidates.nearest(wanted, floor=wish.min_cosine))
            places = [space.place_of(one.position) for one in found]
            directions = self._read(spaces.directions, places, without=wish.without)
            shown = [
                Hit(directions[place], one.cosine, one.vector)
                for place, one in zip(places, found, strict=True)
                if place in directions
            ]
            hits = merged(shown, own=own)
            if len(hits) >= wish.limit or len(found) < wanted:
                return hits[: wish.limit]
            wanted *= 4
