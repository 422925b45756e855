"""What a search answers: which directions are near, and how much chance would do as well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from registry_auditor.domain import ModelRef
from registry_auditor.errors import UsageError
from registry_auditor.store.records import StoredDirection

SAME = 0.9999
"""|cos| from which two directions of one tensor are one that was found twice: Krylov steps end within 1e-4."""


@dataclass(frozen=True)
class Neighbour:
    """A stored direction near the one that was asked about."""

    direction: StoredDirection
    cosine: float
    """−1..1. A direction and its negative are one line: hits are sorted by its magnitude."""
    p_value: float
    """Chance that one random direction of that dimension comes as near to one line."""
    expected: float
    """How many of as many random directions as were searched would come as near, on average."""


@dataclass(frozen=True)
class Nearest:
    """The neighbours of one direction, nearest first."""

    hits: tuple[Neighbour, ...]
    searched: int
    """How many directions of other places this one was compared with."""
    missing: int
    """How many were not compared, since their bank file is missing or was changed."""
    dimension: int
    basis: str
    exact: bool
    """Whether each was compared by its numbers. Otherwise one that belongs among the hits is overlooked with a chance
    of at most `scan.OVERLOOKED` if its |cos| is `scan.PROMISED` or more, and of nearer ones practically none; of those
    further away than that, only some are shown."""


@dataclass(frozen=True)
class Pair:
    """A direction of the audit that was asked about, and the one of another model that is nearest to it."""

    mine: StoredDirection
    theirs: StoredDirection
    cosine: float
    p_value: float
    """As of a `Neighbour`."""


@dataclass(frozen=True)
class SharedWith:
    """Another model, and what it has in common with the audit that was asked about."""

    model: ModelRef
    matched: int
    """How many of the directions that were asked about have a neighbour there."""
    pairs: tuple[Pair, ...]
    """The nearest of them, nearest first."""
    directions: int
    """How many of that model's directions were searched."""
    p_value: float
    """A bound on the chance that, were that model's directions random, any of them came as near to any of the
    directions that were asked about as the first pair is."""


@dataclass(frozen=True)
class Shared:
    """The models that share what one audit found, those with most directions in common first."""

    models: tuple[SharedWith, ...]
    asked: int
    """How many directions of the audit were looked up."""
    compared: int
    """How many other models have directions of the same basis and dimension: so many p-values were there."""
    searched: int
    missing: int
    dimension: int
    """0 for an audit without directions."""
    basis: str
    exact: bool
    min_cosine: float


@dataclass(frozen=True)
class Hit:
    """A direction with its vector, on its way to be a neighbour."""

    direction: StoredDirection
    cosine: float
    vector: npt.NDArray[np.float32]


def unit(vector: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """A vector of any length as a unit one. Raises UsageError for what is not one row of finite numbers, or is zero."""
    try:
        numbers = np.asarray(vector, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a vector is a list of numbers: {error}") from error
    if numbers.ndim != 1 or numbers.size < 2:
        raise UsageError(f"a vector is one row of at least two numbers, and this has the shape {numbers.shape}")
    largest = np.abs(numbers).max()
    if not np.isfinite(largest) or largest == 0:
        what = "is zero" if largest == 0 else "holds numbers that are not finite"
        raise UsageError(f"the vector {what}: it has no direction")
    numbers = numbers / largest  # so that no square is too large or too small
    direction: npt.NDArray[np.float32] = (numbers / np.linalg.norm(numbers)).astype(np.float32)
    return direction


def merged(hits: Iterable[Hit], *, own: Hit | None = None) -> list[Hit]:
    """`hits`, nearest first, with each direction that was found several times once, and with all its models.

    Another run of a model, or a mirror of it, finds the same direction of the same tensor in another bank. Those of
    the models of `own` that are the same as `own` are left out.
    """
    kept: list[Hit] = []
    of_tensor: dict[str, list[int]] = defaultdict(list)
    for hit in hits:
        tensor = hit.direction.site.tensor
        if own is not None and _same(hit, own) and set(hit.direction.models) <= set(own.direction.models):
            continue
        twin = next((place for place in of_tensor[tensor] if _same(kept[place], hit)), None)
        if twin is None:
            of_tensor[tensor].append(len(kept))
            kept.append(hit)
        else:
            models = dict.fromkeys(kept[twin].direction.models + hit.direction.models)
            kept[twin] = replace(kept[twin], direction=replace(kept[twin].direction, models=tuple(models)))
    return kept


def neighbours(hits: Sequence[Hit], *, searched: int, dimension: int) -> tuple[Neighbour, ...]:
    """`hits` with what chance would do in as many directions as were searched."""
    # Its tables take a quarter of a second to import, and most commands never search.
    from registry_auditor.numerics.nulls import cosine_maximum_bound

    chances = cosine_maximum_bound(np.array([abs(hit.cosine) for hit in hits]), count=1, d=dimension)
    return tuple(
        Neighbour(hit.direction, hit.cosine, float(p_value), float(p_value) * searched)
        for hit, p_value in zip(hits, chances, strict=True)
    )


def _same(hit: Hit, other: Hit) -> bool:
    if hit.direction.site.tensor != other.direction.site.tensor:
        return False
    lengths = float(np.linalg.norm(hit.vector) * np.linalg.norm(other.vector))
    return abs(float(hit.vector @ other.vector)) >= SAME * lengths > 0
