"""A float32 matrix that is held whole or streamed in row blocks, and the products a decomposition needs of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

CPU = torch.device("cpu")

SAFE_EXPONENT = 40
"""Entries whose largest is within 2^±40 have squares, and sums of squares, that float32 holds without loss."""

GRAM_ENTRIES = 2**21
"""How many entries at a time are converted to float64."""


def unit_for(largest: float) -> float:
    """The power of two that brings `largest` near 1; 1 where it is safe as it is, zero or not finite."""
    if largest == 0.0 or not math.isfinite(largest):
        return 1.0
    _, exponent = math.frexp(largest)
    return 1.0 if abs(exponent) <= SAFE_EXPONENT else 2.0 ** max(exponent, -1000)


def scaled(matrix: Float[Tensor, "m n"]) -> tuple[Float[Tensor, "m n"], float]:
    """`matrix` in float32 and the unit that it is in; copied only where its scale is extreme."""
    low, high = torch.aminmax(matrix) if matrix.numel() else (0.0, 0.0)  # both are NaN if any entry is
    unit = unit_for(max(-float(low), float(high)))
    return (matrix.float() if unit == 1.0 else (matrix.double() / unit).float()), unit


@dataclass(frozen=True)
class RowMatrix:
    """A finite float32 matrix, seen through its row blocks.

    One block is a matrix held in memory; many blocks that are made anew on every pass are one that never is,
    so that an embedding of gigabytes costs the memory of one block.
    """

    shape: tuple[int, int]
    blocks: Callable[[], Iterator[Tensor]]
    """Consecutive float32 row blocks, the same ones at every call. A block is valid until the next is drawn."""
    device: torch.device = CPU
    """Where the blocks are, and every product with them."""
    unit: float = 1.0
    """What a 1 in the blocks, in products and in energies stands for: a power of two, so that nothing is rounded.
    A matrix of 1e-30 or 1e+30 is held in a unit of its own size, since float32 cannot hold the squares."""

    @classmethod
    def dense(cls, matrix: Float[Tensor, "m n"]) -> RowMatrix:
        """A matrix that is already in memory, as a single block; copied only where its scale is extreme."""
        held, unit = scaled(matrix)
        return cls((matrix.shape[0], matrix.shape[1]), lambda: iter((held,)), held.device, unit)

    def times(self, right: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
        """The product with `right`."""
        out = torch.empty(self.shape[0], right.shape[1], device=self.device)
        row = 0
        for block in self.blocks():
            torch.mm(block, right, out=out[row : row + len(block)])
            row += len(block)
        return out

    def transpose_times(self, left: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
        """The product of the transpose with `left`."""
        out = torch.zeros(left.shape[1], self.shape[1], device=self.device)
        rows = left.T.contiguous()
        start = 0
        for block in self.blocks():
            # (left' A)' rather than A' left: the same numbers, and MKL is ten times slower for 8 columns otherwise.
            out.addmm_(rows[:, start : start + len(block)], block)
            start += len(block)
        return out.T

    def sketch(self, right: Float[Tensor, "s k"]) -> Float[Tensor, "m k"]:
        """The product of the first `s` columns with `right`."""
        blocks = (torch.mm(block[:, : len(right)], right) for block in self.blocks())
        return torch.cat(list(blocks))

    def gram(self, *, of_rows: bool) -> Float[Tensor, "s s"]:
        """The products of all rows, or of all columns, with each other, in float64.

        Memory: the result and a few blocks; for rows also the whole matrix, unless it is held as one block.
        """
        size = self.shape[0] if of_rows else self.shape[1]
        out = torch.zeros(size, size, dtype=torch.float64, device=self.device)
        for block in [self.read().T] if of_rows else self.blocks():
            step = max(1, GRAM_ENTRIES // max(1, size))
            for part in torch.split(block, step):
                wide = part.double()
                out.addmm_(wide.T, wide)
        return out

    def read(self) -> Float[Tensor, "m n"]:
        """The whole matrix in memory; a copy unless it is one block."""
        blocks = self.blocks()
        first = next(blocks)
        if len(first) == self.shape[0]:
            return first
        return torch.cat([first.clone(), *(block.clone() for block in blocks)])


@dataclass(frozen=True)
class Energy:
    """Squared norms of a matrix by row and by column, in its unit, in float64 on the CPU."""

    rows: Float[Tensor, " m"]
    columns: Float[Tensor, " n"]

    @property
    def total(self) -> float:
        """The squared Frobenius norm."""
        return float(self.rows.sum())

    @classmethod
    def of(cls, matrix: RowMatrix) -> Energy:
        """One pass over `matrix`. Non-finite entries show as a non-finite total."""
        meter = EnergyMeter(matrix.shape[1])
        for block in matrix.blocks():
            meter.add(block)
        return meter.energy()


class EnergyMeter:
    """Adds up an `Energy` block by block, while the blocks are in the processor's cache anyway."""

    def __init__(self, columns: int) -> None:
        """Start at zero for matrices with `columns` columns."""
        self._rows: list[Tensor] = []
        self._columns = torch.zeros(columns, dtype=torch.float64)
        self._squares = torch.empty(0, columns)

    def add(self, block: Float[Tensor, "b n"]) -> None:
        """Count the next row block."""
        if len(self._squares) < len(block):
            self._squares = torch.empty_like(block)
        squares = torch.mul(block, block, out=self._squares[: len(block)])
        self._rows.append(squares.sum(1).double().cpu())
        self._columns += squares.sum(0).double().cpu()

    def energy(self) -> Energy:
        """What has been counted so far."""
        rows = torch.cat(self._rows) if self._rows else torch.zeros(0, dtype=torch.float64)
        return Energy(rows, self._columns)
