"""The strongest singular triplets of a weight update, each with a proved residual."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.numerics.krylov import Krylov
from registry_auditor.numerics.noise import RELATIVE_ZERO, signal_rank
from registry_auditor.numerics.rows import Energy, RowMatrix

OVERSAMPLING = 8
"""Halko et al. recommend 5 to 10 columns more than are wanted."""

LANE = 16
"""Blocks are a multiple of this wide: matrix products with 28 columns take as long as with 32."""

TOLERANCE = 5e-4
"""Residual ‖ΔW v − σ u‖ / σ at which a triplet counts as found. With the next singular value 5 % away the direction is
then within 0.01 rad of the exact one (|cos| ≥ 0.9999), by Wedin's theorem."""

SUSPECT = 0.97
"""Share of the noise edge from which a vector may yet become a direction. After two blocks noise of large matrices has
come to 0.95 of its edge, and a direction 15 % above the edge to 1.0."""

SEARCH_BLOCKS = 3
"""Krylov blocks after which nothing below the edge is suspected (tests/numerics/test_svd.py)."""

MAX_BLOCKS = 16
"""Krylov blocks before the full decomposition is the cheaper way to an answer, if they are not half of the matrix."""

EXACT_BLOCKS = 8
"""Matrices of which so many blocks would be the whole are decomposed in full at once."""


@dataclass(frozen=True)
class SVD:
    """Leading singular triplets, strongest first: the matrix is close to U · diag(S) · Vh."""

    U: Float[Tensor, "m k"]
    S: Float[Tensor, " k"]
    """In float64: matrices of any scale have singular values."""
    Vh: Float[Tensor, "k n"]
    residual: Float[Tensor, " k"]
    """‖A v − σ u‖ / σ, or ‖A'u − σ v‖ / σ where it is larger, measured with the matrix itself; one of the two vanishes
    by construction."""
    signal: int
    """How many of the triplets stand above the noise edge."""
    edge: float
    """The largest singular value that noise of this matrix's row and column energies would have."""

    def transposed(self) -> SVD:
        """The same triplets of the transpose."""
        return SVD(self.Vh.T, self.S, self.U.T, self.residual, self.signal, self.edge)


def truncated_svd(
    matrix: RowMatrix,
    k: int,
    *,
    energy: Energy | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> SVD:
    """The `k` strongest triplets of `matrix`, those above the noise edge to within `tolerance`.

    Block Golub–Kahan iteration with a randomised start and full reorthogonalisation: each block costs one product with
    the matrix and one with its transpose, and the product that extends the basis also measures the residual. Triplets
    below the noise edge are returned as they come: nothing depends on them, and noise has no gap to converge by.
    Deterministic for a seed and a number of threads; the largest-magnitude entry of every u is positive. Computed in
    float32, small projected problems in float64.

    Fewer than k triplets come where the rest is zero. Falls back to the full decomposition (of the smaller Gram
    matrix, in float64) when the matrix is so small, or its spectrum so flat, that this is quicker.
    Memory: that of the matrix, and MAX_BLOCKS · (k + OVERSAMPLING) · (m + n) floats; three float64 squares of the
    smaller side where it falls back.

    Raises:
        ValueError: if k is not in 1..min(m, n), or the matrix holds a value that is not finite.

    Source: Musco & Musco 2015, arXiv:1504.05477, algorithm 2; the reference is `torch.linalg.svd` in float64.
    Differs: stops on measured residuals of the triplets above the noise edge instead of after a fixed count.
    """
    m, n = matrix.shape
    if not 1 <= k <= min(m, n):
        raise ValueError(f"k is {k}; a {m} × {n} matrix has 1 to {min(m, n)} singular triplets")
    energy = Energy.of(matrix) if energy is None else energy
    if not math.isfinite(energy.total):
        raise ValueError("the matrix holds a NaN or an infinite value")
    width = -(-(k + OVERSAMPLING) // LANE) * LANE
    if energy.total == 0.0:
        return SVD(torch.empty(m, 0), torch.empty(0).double(), torch.empty(0, n), torch.empty(0), 0, 0.0)
    if min(m, n) <= EXACT_BLOCKS * width:
        return _full(matrix, k, energy)
    found = _iterate(Krylov(matrix, width, seed), k, energy, tolerance)
    return _full(matrix, k, energy) if found is None else found


def _iterate(krylov: Krylov, k: int, energy: Energy, tolerance: float) -> SVD | None:
    signal = 0
    for blocks in range(1, 1 + min(MAX_BLOCKS, min(krylov.matrix.shape) // (2 * krylov.width))):
        krylov.advance()
        converged = krylov.residual[:k] <= tolerance
        all_found = bool(converged.all())
        if not all_found and (blocks == 1 or not bool(converged[:signal].all())):
            continue  # what stood above the noise a block ago still does
        U, S, V = krylov.triplets(k)
        signal, edge = _signal(U, krylov.values, V, energy)
        hidden = blocks < SEARCH_BLOCKS and float(krylov.reach[signal:k].max(initial=0.0)) > SUSPECT * edge
        if all_found or (bool(converged[:signal].all()) and not hidden):
            gaps = krylov.images[:, :k] - U * S.float()
            return _finished((U, S, V), gaps, signal=signal, edge=edge, unit=krylov.matrix.unit)
    return None


def _full(matrix: RowMatrix, k: int, energy: Energy) -> SVD:
    """By the eigenvectors of the smaller Gram matrix: float64 keeps singular values down to 1e-7 of the largest."""
    wide = matrix.shape[0] < matrix.shape[1]
    _, vectors = torch.linalg.eigh(matrix.gram(of_rows=wide))
    near = vectors[:, -k - 1 :].flip(1).float()
    far = matrix.transpose_times(near) if wide else matrix.times(near)
    S = torch.linalg.vector_norm(far, dim=0, dtype=torch.float64)
    there = S[:1] * RELATIVE_ZERO < S
    near, S = near[:, there], S[there]
    far = (far[:, there] / S).float()
    gaps = (matrix.times(far) if wide else matrix.transpose_times(far)) - near * S.float()
    U, V = (near, far) if wide else (far, near)
    signal, edge = _signal(U[:, :k], S, V[:, :k], energy)
    return _finished((U[:, :k], S[:k], V[:, :k]), gaps[:, :k], signal=signal, edge=edge, unit=matrix.unit)


def _finished(triplets: tuple[Tensor, Tensor, Tensor], gaps: Tensor, *, signal: int, edge: float, unit: float) -> SVD:
    """Residuals measured, signs fixed, sizes in real units."""
    U, S, V = triplets
    residual = torch.linalg.vector_norm(gaps, dim=0, dtype=torch.float64) / S
    U, V = fix_signs(U, V)
    return SVD(U, S * unit, V.T, residual.float(), signal, edge * unit)


def _signal(U: Tensor, S: Tensor, V: Tensor, energy: Energy) -> tuple[int, float]:
    """`signal_rank` of triplets on any device."""
    left, values, right = (each.double().cpu().numpy() for each in (U, S, V))
    return signal_rank(values, energy, left, right)


def fix_signs(U: Float[Tensor, "m k"], V: Float[Tensor, "n k"]) -> tuple[Float[Tensor, "m k"], Float[Tensor, "n k"]]:
    """Flip the pairs (u, v) so that the largest-magnitude entry of u is positive."""
    if not U.numel():
        return U, V
    largest = U.gather(0, U.abs().argmax(dim=0, keepdim=True))
    signs = torch.where(largest < 0, -1.0, 1.0)
    return U * signs, V * signs
