"""What one audit found, looked for in every other model of the same basis."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from registry_auditor.domain import ModelRef
from registry_auditor.store.records import StoredDirection
from registry_auditor.store.search.index import Space
from registry_auditor.store.search.neighbours import Pair, SharedWith
from registry_auditor.store.search.spaces import Place, SpaceKey
from registry_auditor.store.search.vectors import Vectors

PAIRS = 5
"""How many pairs are shown for a model."""


@dataclass(frozen=True)
class Question:
    """The directions of an audit that are to be looked up in a space."""

    mine: tuple[StoredDirection, ...]
    queries: Vectors
    """Theirs, a row each."""
    key: SpaceKey
    without: str
    """The audit's own model, as a glob."""
    limit: int
    min_cosine: float
    exact: bool | None


@dataclass(frozen=True)
class Match:
    """One direction of the audit, by its number among those asked about, and one of somebody else."""

    asked: int
    place: Place
    cosine: float


@dataclass
class Common:
    """What one model has in common with the audit: the nearest match of each direction that has one."""

    nearest: dict[int, Match] = field(default_factory=dict)

    def add(self, match: Match) -> None:
        """Keep it if it is the nearest of its direction."""
        held = self.nearest.get(match.asked)
        if held is None or abs(match.cosine) > abs(held.cosine):
            self.nearest[match.asked] = match

    @property
    def best(self) -> list[Match]:
        """The nearest ones that are shown, nearest first."""
        return sorted(self.nearest.values(), key=lambda match: -abs(match.cosine))[:PAIRS]


def in_common(matches: Iterable[Match], shown_by: Mapping[str, Sequence[int]], *, limit: int) -> dict[int, Common]:
    """The `limit` models that share most, of equal ones those that are nearest, first.

    `shown_by` tells which models show a bank.
    """
    common: dict[int, Common] = defaultdict(Common)
    for match in matches:
        for model in shown_by.get(match.place[0], ()):
            common[model].add(match)
    ranked = sorted(common, key=lambda model: (-len(common[model].nearest), -abs(common[model].best[0].cosine), model))
    return {model: common[model] for model in ranked[:limit]}


def places(common: Mapping[int, Common]) -> list[Place]:
    """Of the directions that are shown."""
    return [match.place for one in common.values() for match in one.best]


def sizes(space: Space, shown_by: Mapping[str, Sequence[int]], *, without: Collection[str]) -> Counter[int]:
    """How many directions of each model were searched, those of the banks `without` not counted."""
    counts: Counter[int] = Counter()
    for file in space.files:
        if file.sha256 not in without:
            counts.update(dict.fromkeys(shown_by.get(file.sha256, ()), file.directions))
    return counts


def described(
    question: Question,
    common: Mapping[int, Common],
    *,
    theirs: Mapping[Place, StoredDirection],
    models: Mapping[int, ModelRef],
    sizes: Mapping[int, int],
) -> Iterator[SharedWith]:
    """Each model with the pairs that it is listed for."""
    from registry_auditor.numerics.nulls import cosine_maximum_bound

    d = question.key.dimension
    for model, one in common.items():
        cosines = np.array([abs(match.cosine) for match in one.best])
        chances = cosine_maximum_bound(cosines, count=1, d=d)
        pairs = [
            Pair(question.mine[match.asked], theirs[match.place], match.cosine, float(p_value))
            for match, p_value in zip(one.best, chances, strict=True)
        ]
        # Any of theirs with any of ours: the sum of all chances, however much ours resemble one another.
        either = cosine_maximum_bound(cosines[:1], count=len(question.mine) * sizes[model], d=d)
        yield SharedWith(models[model], len(one.nearest), tuple(pairs), sizes[model], float(either[0]))
