"""The strongest singular triplets of a weight update, each with a proved residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.numerics.noise import signal_rank
from registry_auditor.numerics.rows import Energy, RowMatrix

OVERSAMPLING = 8
"""Halko et al. recommend 5 to 10 columns more than are wanted."""

TOLERANCE = 5e-4
"""Residual ‖ΔW v − σ u‖ / σ at which a triplet counts as found. With the next singular value 5 % away the direction is
then within 0.01 rad of the exact one (|cos| ≥ 0.9999), by Wedin's theorem."""

MAX_BLOCKS = 10
"""Krylov blocks before the full decomposition is the cheaper way to an answer."""


@dataclass(frozen=True)
class SVD:
    """Leading singular triplets, strongest first: the matrix is close to U · diag(S) · Vh."""

    U: Float[Tensor, "m k"]
    S: Float[Tensor, " k"]
    Vh: Float[Tensor, "k n"]
    residual: Float[Tensor, " k"]
    """‖A v − σ u‖ / σ, measured with the matrix itself; A'u = σ v holds by construction."""
    signal: int
    """How many of the triplets stand above the noise edge."""
    edge: float
    """The largest singular value that noise of this matrix's row and column energies would have."""

    def transposed(self) -> SVD:
        """The same triplets of the transpose."""
        return SVD(self.Vh.T, self.S, self.U.T, self.residual, self.signal, self.edge)

    def leading(self, k: int) -> SVD:
        """The first `k` triplets of these."""
        return SVD(self.U[:, :k], self.S[:k], self.Vh[:k], self.residual[:k], min(self.signal, k), self.edge)


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

    Falls back to the full decomposition when the matrix is so small, or its spectrum so flat, that this is quicker.
    Memory: that of the matrix, and MAX_BLOCKS · (k + OVERSAMPLING) · (m + n) floats.

    Raises:
        ValueError: if k is not in 1..min(m, n), or the matrix holds a value that is not finite.

    Source: Musco & Musco 2015, arXiv:1504.05477, algorithm 2; the reference is `torch.linalg.svd` in float64.
    Differs: stops on measured residuals of the triplets above the noise edge instead of after a fixed count.
    """
    m, n = matrix.shape
    if not 1 <= k <= min(m, n):
        raise ValueError(f"k is {k}; a {m} × {n} matrix has 1 to {min(m, n)} singular triplets")
    energy = Energy.of(matrix) if energy is None else energy
    if not np.isfinite(energy.total):
        raise ValueError("the matrix holds a NaN or an infinite value")
    width = k + OVERSAMPLING
    if min(m, n) <= 4 * width:
        return _full(matrix, k, energy)
    found = _block_krylov(matrix, width, k, energy, tolerance, seed)
    return _full(matrix, k, energy) if found is None else found


def _block_krylov(matrix: RowMatrix, width: int, k: int, energy: Energy, tolerance: float, seed: int) -> SVD | None:
    n = matrix.shape[1]
    start = torch.randn(n, width, generator=torch.Generator().manual_seed(seed))  # one start for all devices
    image = matrix.times(start.to(matrix.device))
    Q, B = image[:, :0], start.to(matrix.device)[:, :0]
    for _ in range(MAX_BLOCKS):
        block = _orthonormal(image, Q)
        Q, B = torch.cat([Q, block], 1), torch.cat([B, matrix.transpose_times(block)], 1)
        U, S, V = _ritz(Q, B, width)
        image = matrix.times(V)
        residual = torch.linalg.vector_norm(image - U * S, dim=0) / S.clamp_min(torch.finfo(S.dtype).tiny)
        signal, edge = _signal(U, S, V, energy, k)
        if bool((residual[:signal] <= tolerance).all()):
            U, V = _fix_signs(U, V)
            return SVD(U, S, V.T, residual, signal, edge).leading(k)
    return None


def _ritz(Q: Tensor, B: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `width` best triplets of the matrix within the span of Q, given B = A'Q."""
    P, R = torch.linalg.qr(B)
    left, S, right = torch.linalg.svd(R.double().T)
    return Q @ left[:, :width].float(), S[:width].float(), P @ right[:width].T.float()


def _orthonormal(block: Tensor, Q: Tensor) -> Tensor:
    """An orthonormal basis of `block` after Q is projected out; twice, since once leaves rounding behind."""
    for _ in range(2):
        block, _ = torch.linalg.qr(block - Q @ (Q.T @ block))
    return block


def _full(matrix: RowMatrix, k: int, energy: Energy) -> SVD:
    whole = matrix.read()
    small = min(whole.shape) <= 1024  # float64 is affordable there
    U, S, Vh = torch.linalg.svd(whole.double() if small else whole, full_matrices=False)
    U, S, Vh = U[:, : k + 1].float(), S[: k + 1].float(), Vh[: k + 1].float()
    residual = torch.linalg.vector_norm(whole @ Vh.T - U * S, dim=0) / S.clamp_min(torch.finfo(S.dtype).tiny)
    signal, edge = _signal(U, S, Vh.T, energy, k)
    U, V = _fix_signs(U, Vh.T)
    return SVD(U, S, V.T, residual, signal, edge).leading(k)


def _signal(U: Tensor, S: Tensor, V: Tensor, energy: Energy, limit: int) -> tuple[int, float]:
    """`signal_rank` of triplets on any device."""
    left, values, right = (each.double().cpu().numpy() for each in (U, S, V))
    return signal_rank(values, energy, left, right, limit=limit)


def _fix_signs(U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Flip the pairs (u, v) so that the largest-magnitude entry of u is positive."""
    columns = torch.arange(U.shape[1], device=U.device)
    signs = torch.sign(U[U.abs().argmax(dim=0), columns])
    signs[signs == 0] = 1.0
    return U * signs, V * signs
