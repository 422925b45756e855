"""What the fine-tuning changed, matrix by matrix: size, shape of the spectrum, and the directions that were learnt.

Source: Zhong & Raghunathan 2025, "Watch the Weights", arXiv:2508.00161, section 3 (left singular vectors of the update
of the two matrices that write to the residual stream, a fixed k = 20).
Differs: all matrices that touch the stream, readers by their right singular vectors (an adapter on q and v alone has no
update where the paper looks); k stops at the noise edge; singular values, signs and residuals are kept; adapters are
decomposed without being merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from registry_auditor.domain import Direction, Side, Site
from registry_auditor.errors import TensorError
from registry_auditor.numerics.factored import factored_svd
from registry_auditor.numerics.rows import Energy, EnergyMeter, RowMatrix
from registry_auditor.numerics.svd import SVD, truncated_svd
from registry_auditor.weights import Delta

WORKSPACE_BYTES = 512 * 2**20
"""Updates up to this size are held in memory while they are decomposed, larger ones are streamed on every pass."""

BLOCK_BYTES = 4 * 2**20
"""Row blocks of about the size of a processor's cache: converting, subtracting and measuring then cost one read."""


@dataclass(frozen=True, eq=False)
class MatrixUpdate:
    """The update of one matrix, measured."""

    site: Site
    shape: tuple[int, int]
    norm: float
    """Frobenius norm of the update."""
    base_norm: float | None
    """Frobenius norm of the base; None for an adapter without its base."""
    singular_values: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """The strongest ones, whether or not they stand above the noise; empty for vectors and inner matrices."""
    rank: int = 0
    """How many of them stand above the noise edge; not more than were asked for."""
    edge: float = 0.0
    """The largest singular value that noise of this size would show."""
    directions: tuple[Direction, ...] = ()
    """Of the residual stream, strongest first, one for each singular value above the edge."""

    @property
    def relative_norm(self) -> float | None:
        """Size of the update over size of the base; None where either is unknown or the base is zero."""
        return self.norm / self.base_norm if self.base_norm else None

    @property
    def identical(self) -> bool:
        """Whether nothing changed at all."""
        return self.norm == 0.0

    @property
    def decomposed(self) -> bool:
        """Whether there is a spectrum to speak of."""
        return len(self.singular_values) > 0 and not self.identical

    @property
    def stable_rank(self) -> float:
        """Σ s² / s1²: how many equally strong directions would hold the same energy."""
        return self.norm**2 / float(self.singular_values[0]) ** 2

    @property
    def top_energy(self) -> float:
        """s1² / Σ s², 0..1: the share of the first direction."""
        return min(1.0, 1.0 / self.stable_rank)

    @property
    def signal_energy(self) -> float:
        """The share of the energy, 0..1, that lies in the singular values above the noise edge."""
        return min(1.0, float((self.singular_values[: self.rank] ** 2).sum()) / self.norm**2)


class Decomposer:
    """Measures one update after the other in one piece of memory, which a fresh allocation each would cost dearly."""

    def __init__(self, *, k: int = 20, seed: int = 0, device: torch.device | str = "cpu") -> None:
        """Look for at most `k` directions a matrix."""
        self.k = k
        self.seed = seed
        self.device = torch.device(device)
        self._buffer = torch.empty(0)

    def measure(self, delta: Delta) -> MatrixUpdate:
        """The update of one matrix.

        Raises:
            TensorError: if the update holds a NaN or an infinite value.
        """
        try:
            return self._factored(delta) if delta.factors is not None else self._dense(delta)
        except ValueError as error:
            raise TensorError(delta.site.tensor, str(error)) from error

    def _factored(self, delta: Delta) -> MatrixUpdate:
        assert delta.factors is not None
        B, A = (factor.to(self.device) for factor in delta.factors)
        svd = factored_svd(B, A)
        base_norm = _norm_of_base(delta) if delta.has_base else None
        norm = float(torch.linalg.vector_norm(svd.S.double()))
        return self._result(delta.site, delta.shape, svd, norm=norm, base_norm=base_norm)

    def _dense(self, delta: Delta) -> MatrixUpdate:
        matrix, energy, base_norm = self._subtract(delta)
        norm = energy.total**0.5
        if not np.isfinite(norm):
            raise TensorError(delta.site.tensor, "holds NaN or infinite values")
        if norm == 0.0 or delta.site.side is None or min(delta.shape) == 1:
            return MatrixUpdate(delta.site, delta.shape, norm, base_norm)
        svd = truncated_svd(matrix, min(self.k, *delta.shape), energy=energy, seed=self.seed)
        if delta.transposed:
            svd = SVD(svd.Vh.T, svd.S, svd.U.T, svd.residual, svd.signal, svd.edge)
        return self._result(delta.site, delta.shape, svd, norm=norm, base_norm=base_norm)

    def _subtract(self, delta: Delta) -> tuple[RowMatrix, Energy, float]:
        """The stored update as rows, with its energy and the norm of the base, from one pass over both files."""
        rows, columns = reversed(delta.shape) if delta.transposed else delta.shape
        held = rows * columns * 4 <= WORKSPACE_BYTES
        whole = self._workspace(rows, columns) if held else torch.empty(0, columns)
        meter, base_squared, row = EnergyMeter(columns), 0.0, 0
        for block, base in self._difference_blocks(delta, whole if held else None):
            base_squared += float(torch.linalg.vector_norm(base)) ** 2
            meter.add(block)
            row += len(block)
        if held:
            return RowMatrix.dense(whole), meter.energy(), base_squared**0.5
        streamed = RowMatrix(
            (rows, columns), lambda: (block for block, _ in self._difference_blocks(delta, None)), self.device
        )
        return streamed, meter.energy(), base_squared**0.5

    def _difference_blocks(self, delta: Delta, whole: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Row blocks of tuned − base beside those of the base, float32; into `whole` if there is one."""
        base32 = difference = torch.empty(0)
        row = 0
        for base, tuned in delta.blocks(BLOCK_BYTES):
            if len(base32) < len(base):
                base32 = torch.empty(base.shape, device=self.device)
                difference = torch.empty_like(base32)
            into = difference[: len(base)] if whole is None else whole[row : row + len(base)]
            reference = base32[: len(base)]
            reference.copy_(base)
            into.copy_(tuned).sub_(reference)
            row += len(base)
            yield into, reference

    def _workspace(self, rows: int, columns: int) -> Tensor:
        if self._buffer.numel() < rows * columns:
            self._buffer = torch.empty(rows * columns, device=self.device)
        return self._buffer[: rows * columns].view(rows, columns)

    def _result(
        self, site: Site, shape: tuple[int, int], svd: SVD, *, norm: float, base_norm: float | None
    ) -> MatrixUpdate:
        found = min(svd.signal, self.k)
        directions = tuple(_directions(site, svd, found))
        values = svd.S.double().cpu().numpy()
        return MatrixUpdate(site, shape, norm, base_norm, values, found, svd.edge, directions)


def _directions(site: Site, svd: SVD, count: int) -> Iterator[Direction]:
    if site.side is None:
        return
    vectors = svd.U.T if site.side is Side.WRITES else svd.Vh
    vectors = vectors[:count].cpu().numpy()
    for rank, vector in enumerate(vectors):
        sign = -1.0 if vector[np.abs(vector).argmax()] < 0 else 1.0
        unit = (vector * (sign / np.linalg.norm(vector.astype(np.float64)))).astype(np.float32)
        yield Direction(site, rank, float(svd.S[rank]), float(svd.residual[rank]), unit)


def _norm_of_base(delta: Delta) -> float:
    squares = (float(torch.linalg.vector_norm(base.float())) ** 2 for base, _ in delta.blocks(BLOCK_BYTES))
    return float(sum(squares)) ** 0.5
