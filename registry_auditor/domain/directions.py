"""Directions of the residual stream, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_auditor.domain.models import Site

if TYPE_CHECKING:  # which takes a tenth of a second to import, for every command
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class TokenReadout:
    """What a direction says, read through the unembedding (writes) or the embedding (reads)."""

    top: tuple[tuple[str, float], ...]
    """Readable tokens with the largest scores, in standard deviations of a random direction, largest first."""
    bottom: tuple[tuple[str, float], ...]
    """The same for the smallest, smallest first."""
    p_value: float
    """Chance that a random direction of the same norm reads at least as clearly, 0..1."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit direction of the residual stream in which the fine-tuning moved a matrix."""

    site: Site
    rank: int
    """0 is the strongest direction of its matrix."""
    strength: float
    """The singular value of the weight update."""
    residual: float
    """Proved bound ‖ΔW v − σ u‖ / σ."""
    vector: npt.NDArray[np.float32]
    """Unit norm; its largest-magnitude entry is positive."""
    tokens: TokenReadout | None = None
