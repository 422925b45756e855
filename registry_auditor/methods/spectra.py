"""What the updates of all matrices say together: where the change is, and what kind of change it is.

Source: Arditi et al. 2024, arXiv:2406.11717 (removing one direction from every writing matrix, "abliteration");
Hurtado 2026, arXiv:2607.01854 (s1² / Σ s² of the writing matrices as its mark).
Differs: works from the update alone, on any layout, and asks of each matrix first whether anything stands above the
noise; a cast or a re-quantisation is told from learning by the size that rounding can have.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.domain import Side, Site
from registry_auditor.methods.directions import MatrixUpdate
from registry_auditor.numerics.subspace import consensus

NOT_THE_BASE = 0.9
"""Relative update from which a matrix cannot come from this base: independent weights give 1 or more whatever their
scales, and fine-tunes stay far below (docs/detection.md)."""

ROUNDING_MARGIN = 1.5
"""How far above the expected rounding a remainder may be and still be rounding; merged adapters show 1.0 to 1.1."""

SHARED_BY_AT_LEAST = 3
"""How many matrices must have a direction in common before one speaks of it: two are no pattern."""

SAME_RANK_SHARE = 0.8
"""Which share of the matrices must agree on the rank: noise hides the weakest direction of a few."""


def is_foreign(update: MatrixUpdate) -> bool:
    """Whether the update is as large as the base: then the base is another network, and the directions mean nothing."""
    return update.relative_norm is not None and update.relative_norm >= NOT_THE_BASE


def with_spectrum(updates: Iterable[MatrixUpdate]) -> list[MatrixUpdate]:
    """Those that changed and have singular values to speak of; a vector has but one."""
    return [update for update in updates if update.decomposed and min(update.shape) > 1]


def relative_update(updates: Iterable[MatrixUpdate]) -> float | None:
    """Size of all updates together over size of their bases; None where no base is known."""
    known = [update for update in updates if update.base_norm]
    base = math.hypot(*(update.base_norm or 0.0 for update in known))
    return math.hypot(*(update.norm for update in known)) / base if base else None


def median_update(updates: Iterable[MatrixUpdate]) -> float:
    """The size of the typical update, relative to its base; 0 where no matrix has a base."""
    return median([update.relative_norm or 0.0 for update in updates if min(update.shape) > 1] or [0.0])


@dataclass(frozen=True)
class Cell:
    """All matrices of one role in one layer: a cell of the heat map."""

    layer: int | None
    role: str
    matrices: int
    changed: int
    relative_norm: float | None
    rank: int
    """The largest rank above the noise among them."""
    strength: float
    """The largest singular value among them."""
    top_energy: float | None
    """The largest s1² / Σ s² among them; None where nothing was decomposed."""


def heat_map(updates: Iterable[MatrixUpdate]) -> list[Cell]:
    """Every layer and role once, in the order of the network."""
    cells: dict[tuple[int | None, str], list[MatrixUpdate]] = defaultdict(list)
    for update in updates:
        cells[update.site.layer, update.site.role].append(update)
    return [_cell(layer, role, group) for (layer, role), group in cells.items()]


def _cell(layer: int | None, role: str, group: Sequence[MatrixUpdate]) -> Cell:
    spectra = [update for update in group if update.decomposed]
    return Cell(
        layer,
        role,
        matrices=len(group),
        changed=sum(not update.identical for update in group),
        relative_norm=relative_update(group),
        rank=max((update.rank for update in spectra), default=0),
        strength=max((float(update.singular_values[0]) for update in spectra), default=0.0),
        top_energy=max((update.top_energy for update in spectra), default=None),
    )


@dataclass(frozen=True, eq=False)
class SharedDirection:
    """One direction that the strongest update of many matrices has in common."""

    share: float
    """Which fraction of the changed writing matrices has it, 0..1."""
    sites: tuple[Site, ...]
    median_cosine: float
    """Median |cos| of those with it."""
    direction: Float[Tensor, " d"]
    """The direction, of unit norm."""


def shared_direction(updates: Sequence[MatrixUpdate], *, cosine: float) -> SharedDirection | None:
    """What the first directions of the writing matrices have in common, within `cosine`; None for fewer than two."""
    writers = [update for update in updates if update.site.side is Side.WRITES and update.directions]
    if len(writers) < 2:
        return None
    first = torch.from_numpy(np.stack([update.directions[0].vector for update in writers]))
    common = consensus(first)
    close = common.cosines >= cosine
    if not bool(close.any()):
        return SharedDirection(0.0, (), 0.0, common.direction)
    sites = tuple(update.site for update, near in zip(writers, close.tolist(), strict=True) if near)
    return SharedDirection(common.share(cosine), sites, float(common.cosines[close].median()), common.direction)


def shared_share(found: SharedDirection | None) -> float:
    """The share of a direction that enough matrices have in common to speak of, else 0."""
    return found.share if found is not None and len(found.sites) >= SHARED_BY_AT_LEAST else 0.0


def purest_rank_one(updates: Iterable[MatrixUpdate]) -> MatrixUpdate | None:
    """The update with the largest top energy of those with a single direction above the noise; None without any."""
    single = [update for update in with_spectrum(updates) if update.rank == 1]
    return max(single, key=lambda update: update.top_energy, default=None)


def is_rank_one(update: MatrixUpdate, *, energy: float) -> bool:
    """Whether a single direction stands above the noise and holds at least `energy` of the update."""
    return purest_rank_one([update]) is not None and update.top_energy >= energy


def noise_size(updates: Iterable[MatrixUpdate]) -> float | None:
    """Size of all updates over size of their bases if none has a direction above the noise; 0 if one has.

    None where no base is known.
    """
    spectra = with_spectrum(updates)
    return 0.0 if not spectra or any(update.rank for update in spectra) else relative_update(spectra)


def is_rounding(update: MatrixUpdate) -> bool:
    """Whether what is left of the update without its directions is no more than storing it in its dtype makes."""
    return update.remainder <= ROUNDING_MARGIN * update.rounding


def merged_rank(updates: Sequence[MatrixUpdate], *, limit: int) -> int | None:
    """The rank of the adapter that was merged, if the updates are low rank and otherwise mere rounding; else None.

    `limit` is how many directions were looked for: a rank that reaches it is not known.
    """
    spectra = [update for update in with_spectrum(updates) if update.rounding > 0]
    if not spectra:
        return None
    fits = [update.rank for update in spectra if 0 < update.rank < min(limit, *update.shape) and is_rounding(update)]
    if len(fits) < SAME_RANK_SHARE * len(spectra):
        return None
    rank, _ = Counter(fits).most_common(1)[0]
    return rank
