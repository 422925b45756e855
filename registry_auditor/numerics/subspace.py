"""How directions of different matrices relate: the one that many of them share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Consensus:
    """The unit vector that a set of directions has most in common."""

    direction: Float[Tensor, " d"]
    cosines: Float[Tensor, " n"]
    """|cos| of each direction with it, 0..1."""

    def share(self, cosine: float) -> float:
        """Which fraction of the directions lies within `cosine` of it, 0..1."""
        return float((self.cosines >= cosine).double().mean())


def consensus(directions: Float[Tensor, "n d"]) -> Consensus:
    """The unit vector with the largest mean squared cosine to `directions` (unit rows), signs ignored.

    It is the first right singular vector of the stacked rows. Independent random rows give a mean squared cosine of
    about (1 + √(n/d))² / n.
    """
    _, _, Vh = torch.linalg.svd(directions.double(), full_matrices=False)
    shared = Vh[0]
    return Consensus(shared.float(), (directions.double() @ shared).abs().float())
