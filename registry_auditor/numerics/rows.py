"""A float32 matrix that is held whole or streamed in row blocks, and the products a decomposition needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

CPU = torch.device("cpu")


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

    @classmethod
    def dense(cls, matrix: Float[Tensor, "m n"]) -> RowMatrix:
        """A matrix that is already in memory, as a single block."""
        matrix = matrix.float()
        return cls((matrix.shape[0], matrix.shape[1]), lambda: iter((matrix,)), matrix.device)

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
        out = torch.zeros(self.shape[1], left.shape[1], device=self.device)
        row = 0
        for block in self.blocks():
            out.addmm_(block.T, left[row : row + len(block)])
            row += len(block)
        return out

    def read(self) -> Float[Tensor, "m n"]:
        """The whole matrix in memory; a copy unless it is held as one block."""
        parts = [block.clone() for block in self.blocks()] if self.shape[0] else []
        return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclass(frozen=True)
class Energy:
    """Squared norms of a matrix by row and by column, in float64 on the CPU."""

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
