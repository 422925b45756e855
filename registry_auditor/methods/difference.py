"""tuned − base as rows, measured in the one pass over both files that makes it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from registry_auditor.numerics.rows import Energy, EnergyMeter, RowMatrix, unit_for
from registry_auditor.weights import Delta

ROUNDING_OF_EPSILON = 1 / math.sqrt(28)
"""RMS rounding error of a float over its RMS, in machine epsilons: ε²/12 against a mean square mantissa of 7/3."""

WORKSPACE_BYTES = 512 * 2**20
"""Updates up to this size are held in memory while they are decomposed, larger ones are streamed on every pass."""

BLOCK_BYTES = 2**20
"""Row blocks that stay in the processor's cache while they are converted, subtracted and measured."""

SAFE_ENERGY = 2.0**-80, 2.0**100
"""Squared norms between these were measured in float32 without loss, whatever the size of the matrix."""


@dataclass(frozen=True, eq=False)
class Difference:
    """The update of one matrix as its file stores it, and what the pass that made it measured."""

    matrix: RowMatrix
    """Valid until the workspace is used again."""
    energy: Energy
    """In the unit of the matrix."""
    base_norm: float
    rounding: float
    """Frobenius norm of the error that storing the matrix in its dtype makes."""

    @property
    def norm(self) -> float:
        """Frobenius norm of the update; not finite if a weight is not."""
        return math.sqrt(self.energy.total) * self.matrix.unit


class Workspace:
    """One piece of memory for one update after the other: a fresh allocation each would cost more than the sums."""

    def __init__(self, device: torch.device) -> None:
        """Empty; it grows to the largest update that it is asked to hold."""
        self.device = device
        self._buffer = torch.empty(0)

    def subtract(self, delta: Delta) -> Difference:
        """The update of `delta`, held if it is small enough and streamed otherwise.

        Numbers whose squares float32 cannot hold, and float64, take a second pass in float64 and a unit of their own.
        """
        shape = delta.shape[::-1] if delta.transposed else delta.shape
        whole = self._take(shape) if shape[0] * shape[1] * 4 <= WORKSPACE_BYTES else None
        if not _is_double(delta):
            found = self._measure(delta, shape, whole, _Plain(self.device))
            low, high = SAFE_ENERGY
            if low <= found.energy.total <= high or (found.energy.total == 0.0 and delta.identical):
                return found
        return self._measure(delta, shape, whole, _Exact(self.device, _unit(delta)))

    def _measure(self, delta: Delta, shape: tuple[int, int], whole: Tensor | None, way: _Plain | _Exact) -> Difference:
        meter, base_norm, row = EnergyMeter(shape[1]), 0.0, 0
        for base, tuned in delta.blocks(BLOCK_BYTES):
            update, reference = way.subtract(base, tuned, None if whole is None else whole[row : row + len(base)])
            meter.add(update)
            base_norm = math.hypot(base_norm, norm(reference))
            row += len(base)

        def again() -> Iterator[Tensor]:
            return (way.subtract(base, tuned, None)[0] for base, tuned in delta.blocks(BLOCK_BYTES))

        matrix = RowMatrix(shape, again if whole is None else lambda: iter((whole,)), self.device, way.unit)
        return Difference(matrix, meter.energy(), base_norm, _rounding(delta, base_norm))

    def _take(self, shape: tuple[int, int]) -> Tensor:
        size = shape[0] * shape[1]
        if self._buffer.numel() < size:
            self._buffer = torch.empty(0)  # the old piece goes before the larger one comes
            self._buffer = torch.empty(size, device=self.device)
        return self._buffer[:size].view(shape)


class _Plain:
    """Subtraction in float32, in buffers that stay in the processor's cache."""

    unit = 1.0

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._base = self._update = torch.empty(0)

    def subtract(self, base: Tensor, tuned: Tensor, update: Tensor | None) -> tuple[Tensor, Tensor]:
        """The update, in `update` if there is one, and base in float32; valid until the next call."""
        if len(self._base) < len(base):
            self._base = torch.empty(base.shape, device=self._device)
        if update is None:
            if len(self._update) < len(base):
                self._update = torch.empty_like(self._base)
            update = self._update[: len(base)]
        reference = self._base[: len(base)].copy_(base)
        return update.copy_(tuned).sub_(reference), reference


class _Exact:
    """Subtraction in float64, then float32 in a unit of the update's own size."""

    def __init__(self, device: torch.device, unit: float) -> None:
        self._device = device
        self.unit = unit

    def subtract(self, base: Tensor, tuned: Tensor, update: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `_Plain.subtract`: the difference in the unit, the base not."""
        reference = base.to(self._device).double()
        scaled = tuned.to(self._device).double().sub_(reference).div_(self.unit)
        return scaled.float() if update is None else update.copy_(scaled), reference


def norm(block: Tensor) -> float:
    """Frobenius norm of numbers of any size."""
    if block.dtype != torch.float64 and block.numel():
        quick = float(torch.linalg.vector_norm(block, dtype=torch.float32))
        low, high = SAFE_ENERGY
        if low <= quick * quick <= high:
            return quick
    wide = block.double()
    largest = float(wide.abs().max()) if block.numel() else 0.0
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return largest * float(torch.linalg.vector_norm(wide / largest))


def _is_double(delta: Delta) -> bool:
    return any(block.dtype == torch.float64 for pair in _first(delta) for block in pair)


def _first(delta: Delta) -> Iterator[tuple[Tensor, Tensor]]:
    for pair in delta.blocks(1):
        yield pair
        return


def _unit(delta: Delta) -> float:
    largest = 0.0
    for base, tuned in delta.blocks(BLOCK_BYTES):
        difference = tuned.double() - base.double()
        largest = max(largest, float(difference.abs().max())) if difference.numel() else largest
    return unit_for(largest)


def _rounding(delta: Delta, base_norm: float) -> float:
    """Relative for most numbers; those too small for that are a fixed step apart."""
    kinds = [torch.finfo(block.dtype) for pair in _first(delta) for block in pair if block.is_floating_point()]
    if not kinds:
        return 0.0
    coarse = max(kinds, key=lambda kind: kind.eps)
    step = coarse.eps * coarse.tiny / math.sqrt(12)
    return math.hypot(base_norm * coarse.eps * ROUNDING_OF_EPSILON, step * math.sqrt(math.prod(delta.shape)))
