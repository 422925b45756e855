"""Direction search: which stored directions lie near this one, within one basis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy.typing as npt
from sqlalchemy import Engine

from registry_auditor.errors import NotFound, StoreError, UsageError
from registry_auditor.store import read
from registry_auditor.store.banks import BankFolder
from registry_auditor.store.part import Part
from registry_auditor.store.records import StoredDirection
from registry_auditor.store.search import sharing, spaces
from registry_auditor.store.search.index import Index, Space
from registry_auditor.store.search.neighbours import Hit, Nearest, Shared, merged, neighbours, unit
from registry_auditor.store.search.scan import ROUNDS, Candidates, Scores, exact_scores, sketched_scores
from registry_auditor.store.search.spaces import SpaceKey
from registry_auditor.store.search.vectors import BankFile, Vectors, rows

NEIGHBOURS = 10
"""How many are given when nobody says how many."""
STRONGEST = 64
"""How many directions of an audit are looked up when nobody says how many."""
AGAIN = 2e-4
"""By how much the |cos| of one direction, found by several runs, is expected to differ."""
AT_ONCE = 16
"""Queries for which the vectors are read once: 4 bytes of scores for each query and direction."""


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
    """Nearest directions by |cos|. Up to `index.EXACT_BYTES` of vectors all are read; above, sketches point to some."""

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
            bank: The digest of its bank, or how that begins.
            ordinal: Its row.
            limit: How many at most.
            min_cosine: None with a smaller |cos|, 0..1.
            exclude_model: None of the models that fit this glob, `hf:org/name` or `hf:org/*`.
            exact: Compare with each by its numbers, however long that takes, or (False) never; None: what is quicker.

        Raises NotFound if there is no such direction, StoreError if its bank cannot be read.
        """
        _check(limit, min_cosine)
        file, key = self._read(spaces.bank, bank)
        place = (file.sha256, ordinal)
        own = self._read(spaces.directions, [place]).get(place)
        if own is None:
            raise NotFound(
                f"bank {file.sha256[:12]} has no direction {ordinal}: `registry-auditor directions list` shows all"
            )
        vector = self._vectors([(file, ordinal)], key.dimension)[0]
        return self._nearest(_Wish(vector, key, limit, min_cosine, exclude_model, exact, own))

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
        _check(limit, min_cosine)
        direction = unit(vector)
        key = self._read(spaces.named, basis, len(direction))
        return self._nearest(_Wish(direction, key, limit, min_cosine, exclude_model, exact))

    def shared(
        self,
        audit_id: str,
        *,
        limit: int = NEIGHBOURS,
        min_cosine: float = 0.5,
        strongest: int = STRONGEST,
        exact: bool | None = None,
    ) -> Shared:
        """Which other models learnt what this one did: have directions near the strongest ones of an audit.

        Revisions of the audit's own model are not others. Of an audit with directions of several dimensions, those
        of the dimension that most of its strongest have are looked up.

        Args:
            audit_id: Its id, or how that begins.
            limit: How many models at most.
            min_cosine: The |cos| from which a direction is shared, 0..1.
            strongest: How many directions to look up; by sketches, each takes as long as one search.
            exact: As for `nearest`.

        Raises NotFound if there is no such audit, StoreError if a bank of it cannot be read.
        """
        _check(min(limit, strongest), min_cosine)
        audit = self._read(read.audit, audit_id)
        mine = self._read(read.directions, limit=strongest, after=None, audit_id=audit.id).items
        banks = {sha256: self._read(spaces.bank, sha256) for sha256 in {each.bank for each in mine}}
        if not banks:
            return Shared((), 0, 0, 0, 0, 0, "", True, min_cosine)
        ((key, _),) = Counter(banks[each.bank][1] for each in mine).most_common(1)
        mine = tuple(each for each in mine if banks[each.bank][1] == key)
        queries = self._vectors([(banks[each.bank][0], each.ordinal) for each in mine], key.dimension)
        without = f"{audit.job.model.registry}:{audit.job.model.name}"
        return self._shared(sharing.Question(mine, queries, key, without, limit, min_cosine, exact))

    def _nearest(self, wish: _Wish) -> Nearest:
        space, exact = self._index.space(wish.key, exact=wish.exact)
        lost: set[str] = set()
        (scores,) = self._scores(space, wish.vector[None], floor=wish.min_cosine, exact=exact, lost=lost)
        if wish.own is not None and (position := space.position((wish.own.bank, wish.own.ordinal))) is not None:
            scores[position] = -1
        if wish.without:
            space.leave_out(scores, self._read(spaces.only_of, wish.without))
        candidates = Candidates(self._banks, space, wish.vector, scores, floor=wish.min_cosine)
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

    def _hits(self, wish: _Wish, space: Space, candidates: Candidates) -> list[Hit]:
        own = None if wish.own is None else Hit(wish.own, 1.0, wish.vector)
        wanted = 2 * wish.limit
        while True:
            found = list(candidates.nearest(wanted))
            places = [space.place_of(one.position) for one in found]
            directions = self._read(spaces.directions, places, without=wish.without)
            shown = [
                Hit(directions[place], one.cosine, one.vector)
                for place, one in zip(places, found, strict=True)
                if place in directions
            ]
            hits = merged(shown, own=own)
            # The last one may have been found again a little further away.
            enough = len(hits) >= wish.limit and abs(found[-1].cosine) < abs(hits[wish.limit - 1].cosine) - AGAIN
            if enough or len(found) < wanted or wanted >= ROUNDS[-1]:
                return hits[: wish.limit]
            wanted *= 4

    def _shared(self, question: sharing.Question) -> Shared:
        space, exact = self._index.space(question.key, exact=question.exact)
        own = self._read(spaces.only_of, question.without) & set(space.numbers)
        matches, lost = [], set[str]()
        floor, queries = question.min_cosine, question.queries
        for asked, scores in enumerate(self._scores(space, queries, floor=floor, exact=exact, lost=lost)):
            space.leave_out(scores, own)
            candidates = Candidates(self._banks, space, queries[asked], scores, floor=floor)
            matches += [sharing.Match(asked, space.place_of(one.position), one.cosine) for one in candidates.nearest()]
            lost |= candidates.lost
        shown_by = self._read(spaces.shown_by, question.key, without=question.without)
        common = sharing.in_common(matches, shown_by, limit=question.limit)
        theirs = self._read(spaces.directions, sharing.places(common))
        models = self._read(spaces.refs, list(common))
        sizes = sharing.sizes(space, shown_by, without=lost)
        return Shared(
            models=tuple(sharing.described(question, common, theirs=theirs, models=models, sizes=sizes)),
            asked=len(question.mine),
            compared=len(sizes),
            searched=space.size - space.count(lost | own),
            missing=space.missing + space.count(lost),
            dimension=question.key.dimension,
            basis=question.key.bases[0],
            exact=exact,
            min_cosine=floor,
        )

    def _scores(self, space: Space, queries: Vectors, *, floor: float, exact: bool, lost: set[str]) -> Iterator[Scores]:
        """For each query a score for each position; banks that cannot be read are added to `lost`."""
        if not exact:
            yield from (sketched_scores(space, query, floor=floor) for query in queries)
            return
        for first in range(0, len(queries), AT_ONCE):
            scores, unread = exact_scores(self._banks, space, queries[first : first + AT_ONCE])
            lost |= unread
            yield from scores

    def _vectors(self, places: Sequence[tuple[BankFile, int]], dimension: int) -> Vectors:
        vectors, was_read = rows(self._banks, places, dimension=dimension)
        for (file, _), there in zip(places, was_read, strict=True):
            if not there:
                raise StoreError(
                    f"bank {file.sha256}: its file is missing from {self._banks.url} or was changed; "
                    "pass the place where it was written with --banks, or restore it from a copy"
                )
        return vectors


def _check(limit: int, min_cosine: float) -> None:
    if limit < 1 or not 0.0 <= min_cosine <= 1.0:
        raise UsageError("a search wants limits of at least 1, and a min_cosine from 0 to 1")
