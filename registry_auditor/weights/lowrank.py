"""The update of one matrix by an adapter: a product of two thin factors, never multiplied out in a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.errors import TensorError
from registry_auditor.weights.matrix import is_finite, whole
from registry_auditor.weights.rows import Cut, Rows, row_ranges


@dataclass(frozen=True, eq=False)
class LowRank:
    """The update scale · B A, and for DoRA the length that each output row is given afterwards."""

    name: str
    """Of the tensor that it changes, as the base calls it."""
    stored_a: Rows
    """r rows of d_in."""
    stored_b: Rows
    """d_out rows of r."""
    scale: float
    stored_magnitude: Rows | None = None
    """DoRA: d_out rows of one number; None for LoRA."""
    cut: Cut | None = None
    """The output rows of a fused matrix that are meant."""
    note: str | None = None
    """What a person should know about it."""

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in) of the update."""
        rows = self.stored_b.shape[0]
        return (self.cut.lines(rows) if self.cut else rows), self.stored_a.shape[1]

    @property
    def is_plain(self) -> bool:
        """Whether the update does not depend on the base."""
        return self.stored_magnitude is None

    def part(self, cut: Cut) -> LowRank:
        """The update of one part of a fused matrix."""
        return replace(self, cut=cut)

    @property
    def factors(self) -> tuple[Float[Tensor, "d_out r"], Float[Tensor, "r d_in"]]:
        """B, with the scale folded in, and A, in float32. Raises TensorError for NaN or infinite values."""
        b, a = self._taken(self.stored_b).mul_(self.scale), whole(self.stored_a)
        if not is_finite(a) or not is_finite(b):
            raise TensorError(self.name, "the adapter holds NaN or infinite values")
        return b, a

    @property
    def magnitude(self) -> Float[Tensor, "d_out 1"] | None:
        """DoRA: the length of each output row."""
        return None if self.stored_magnitude is None else self._taken(self.stored_magnitude)

    def _taken(self, stored: Rows) -> Tensor:
        values = whole(stored)
        return self.cut.take(values, axis=0).clone() if self.cut else values


@dataclass(frozen=True, eq=False)
class UpdatedRows:
    """A matrix with an update applied, row by row as the base stores it; keeps the factors once it has read them."""

    base: Rows
    update: LowRank
    transposed: bool
    """Whether the base is stored as (d_in, d_out)."""
    dtype: torch.dtype = torch.float32

    @property
    def shape(self) -> tuple[int, int]:
        """Of the base."""
        return self.base.shape

    def rows(self, start: int, stop: int) -> Float[Tensor, "n columns"]:
        """A new tensor in float32; the first call for DoRA reads the base once to measure its rows."""
        values = self._sum(start, stop)
        gains = self._gains
        if gains is None:
            return values
        return values * gains.T if self.transposed else values * gains[start:stop]

    def _sum(self, start: int, stop: int) -> Tensor:
        b, a = self._factors
        product = a.T[start:stop] @ b.T if self.transposed else b[start:stop] @ a
        return product.add_(self.base.rows(start, stop).float())

    @cached_property
    def _factors(self) -> tuple[Float[Tensor, "d_out r"], Float[Tensor, "r d_in"]]:
        return self.update.factors

    @cached_property
    def _gains(self) -> Float[Tensor, "d_out 1"] | None:
        """What each output row is multiplied by. Source: Liu et al. 2024, arXiv:2402.09353, eq. 5."""
        magnitude = self.update.magnitude
        if magnitude is None:
            return None
        squares = torch.zeros_like(magnitude)
        for start, stop in row_ranges(self):
            values = self._sum(start, stop).square_()
            if self.transposed:
                squares += values.sum(dim=0)[:, None]
            else:
                squares[start:stop] = values.sum(dim=1, keepdim=True)
        return magnitude / squares.sqrt_()
