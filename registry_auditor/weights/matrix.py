"""One matrix of a snapshot, in the orientation (d_out, d_in) whatever the file does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from registry_auditor.domain import Site
from registry_auditor.weights.rows import BLOCK_BYTES, Rows, row_ranges


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix that is read when asked for; a vector is a matrix of one column."""

    site: Site
    stored: Rows
    """The numbers as the file holds them."""
    key: str
    """Equal in two snapshots for what is the same matrix, whatever wrappers its name carries."""
    stored_transposed: bool = False
    """Whether the file keeps (d_in, d_out), as embeddings and GPT-2 do."""
    norm: str | None = None
    """The tensor of the norm gain between this matrix and the residual stream."""
    offset: float = 0.0
    """What `read` adds to each entry: 1 for the gains of Gemma, which stores them less one."""

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)."""
        rows, columns = self.stored.shape
        return (columns, rows) if self.stored_transposed else (rows, columns)

    @property
    def dtype(self) -> str:
        """Of `blocks`, such as `bfloat16`."""
        return str(self.stored.dtype).removeprefix("torch.")

    def blocks(self, max_bytes: int = BLOCK_BYTES) -> Iterator[Shaped[Tensor, "n columns"]]:
        """Consecutive rows as stored, of at most `max_bytes` but at least one; views of the file where possible."""
        for start, stop in row_ranges(self.stored, max_bytes=max_bytes):
            yield self.stored.rows(start, stop)

    def read(self) -> Float[Tensor, "d_out d_in"]:
        """The whole matrix in float32; peak memory is one copy of it and a block."""
        return oriented(whole(self.stored), transposed=self.stored_transposed).add_(self.offset)


def whole(stored: Rows) -> Float[Tensor, "rows columns"]:
    """All of `stored` in float32, block by block, in memory of its own."""
    values = torch.empty(stored.shape, dtype=torch.float32)
    for start, stop in row_ranges(stored):
        values[start:stop].copy_(stored.rows(start, stop))
    return values


def is_finite(values: Float[Tensor, "rows columns"]) -> bool:
    """Whether no entry is NaN or infinite; one pass, no copy."""
    low, high = torch.aminmax(values)  # both are NaN if any entry is
    return math.isfinite(low) and math.isfinite(high)


def oriented(values: Float[Tensor, "rows columns"], *, transposed: bool) -> Float[Tensor, "d_out d_in"]:
    """`values` as (d_out, d_in)."""
    return values.T if transposed else values
