"""Stored numbers as rows: the one interface between file formats and everything that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Tensor

BLOCK_BYTES = 4 * 2**20
"""How much of a matrix is in memory at once, unless a caller says otherwise. What is computed from a block of
this size stays in memory that the allocator keeps; from 32 MiB on, each result costs fresh pages, which
takes longer than the reading: subtracting two bf16 files was nine times slower.
"""


@runtime_checkable  # so that tests can check annotations at run time
class Rows(Protocol):
    """A two-dimensional array that is read a few rows at a time, in the orientation in which it is stored."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns as stored."""

    @property
    def dtype(self) -> torch.dtype:
        """Of what `rows` returns."""

    def rows(self, start: int, stop: int) -> Shaped[Tensor, "n columns"]:
        """Rows `start` to `stop` (excluded); a view of the mapped file where the format allows it."""


@dataclass(frozen=True)
class Cut:
    """Every `period` lines along `axis`, the lines `low` to `high` (excluded); one period is a plain range.

    Fused projections differ only in this: Phi-3 stacks q over k over v (one period), GPT-NeoX repeats
    q, k, v for each head (a period for each head), GPT-2 does it in columns (axis 1).
    """

    axis: int
    period: int
    low: int
    high: int

    def lines(self, n_lines: int) -> int:
        """How many of `n_lines` lines are taken."""
        return n_lines // self.period * (self.high - self.low)

    def take(self, whole: Shaped[Tensor, "rows columns"], axis: int | None = None) -> Shaped[Tensor, "lines other"]:
        """The chosen lines of `whole`; a view where one period covers it."""
        axis = self.axis if axis is None else axis
        rows, columns = whole.shape
        if axis == 0:
            return whole.view(-1, self.period, columns)[:, self.low : self.high].reshape(-1, columns)
        return whole.view(rows, -1, self.period)[:, :, self.low : self.high].reshape(rows, -1)


@dataclass(frozen=True)
class CutRows:
    """The part of `whole` that `cut` selects, as rows."""

    whole: Rows
    cut: Cut

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the part."""
        rows, columns = self.whole.shape
        if self.cut.axis == 0:
            return self.cut.lines(rows), columns
        return rows, self.cut.lines(columns)

    @property
    def dtype(self) -> torch.dtype:
        """Of the whole."""
        return self.whole.dtype

    def rows(self, start: int, stop: int) -> Tensor:
        """Reads no period that holds none of the wanted rows."""
        if self.cut.axis == 1:
            return self.cut.take(self.whole.rows(start, stop))
        size = self.cut.high - self.cut.low
        if self.whole.shape[0] == self.cut.period:  # a plain range: read nothing around it
            return self.whole.rows(self.cut.low + start, self.cut.low + stop)
        first, last = start // size, -(-stop // size)
        periods = self.whole.rows(first * self.cut.period, last * self.cut.period)
        return self.cut.take(periods)[start - first * size : stop - first * size]


def first_rows(whole: Rows, n_rows: int) -> Rows:
    """The first `n_rows` rows of `whole`."""
    rows = whole.shape[0]
    return whole if n_rows == rows else CutRows(whole, Cut(axis=0, period=rows, low=0, high=n_rows))


def row_ranges(stored: Rows, *others: Rows, max_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, int]]:
    """Consecutive row ranges of at most `max_bytes` in the widest of the given arrays, but at least one row."""
    n_rows, columns = stored.shape
    row_bytes = columns * max(each.dtype.itemsize for each in (stored, *others))
    step = max(1, max_bytes // max(1, row_bytes))
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)


def same_numbers(left: Rows, right: Rows) -> bool:
    """Whether both hold the same; stops at the first block that differs. Two NaN are the same if their bytes are.

    Reads nothing if both are the same part of equal files.
    """
    if left == right:
        return True
    if left.shape != right.shape:
        return False
    return all(_same(left.rows(start, stop), right.rows(start, stop)) for start, stop in row_ranges(left, right))


def _same(left: Tensor, right: Tensor) -> bool:
    if left.dtype != right.dtype:
        widest = torch.float64 if torch.float64 in {left.dtype, right.dtype} else torch.float32
        return torch.equal(left.to(widest), right.to(widest))
    left, right = left.contiguous().view(-1), right.contiguous().view(-1)
    aligned = all(
        each.numel() * each.itemsize % 8 == 0 and each.storage_offset() * each.itemsize % 8 == 0
        for each in (left, right)
    )
    word = torch.int64 if aligned else torch.uint8  # words are compared eight times faster than bytes
    return torch.equal(left.view(word), right.view(word))
