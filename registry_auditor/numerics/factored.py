"""Singular triplets of a product of two thin matrices, without the product."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.numerics.noise import RELATIVE_ZERO
from registry_auditor.numerics.svd import SVD


def factored_svd(B: Float[Tensor, "m r"], A: Float[Tensor, "r n"]) -> SVD:
    """All r triplets of B · A, strongest first, as `truncated_svd` would give them.

    An exact product carries no noise: `signal` is its numerical rank and `edge` is 0. Signs as in `truncated_svd`.
    Memory: a few copies of the factors. The reference is `torch.linalg.svd(B @ A)` in float64.

    Raises:
        ValueError: if a factor holds a value that is not finite.
    """
    Q, R = torch.linalg.qr(B.float())
    P, T = torch.linalg.qr(A.float().T)
    core = R.double() @ T.double().T  # r × r: float64 costs nothing and keeps the small singular values
    if not bool(torch.isfinite(core).all()):
        raise ValueError("a factor holds a NaN or an infinite value")
    left, S, right = torch.linalg.svd(core)
    U, V = Q @ left.float(), P @ right.T.float()
    largest = U.gather(0, U.abs().argmax(dim=0, keepdim=True))
    signs = torch.where(largest < 0, -1.0, 1.0)
    U, V = U * signs, V * signs
    residual = _residual(B.float(), A.float(), U, S.float(), V)
    signal = int((RELATIVE_ZERO * S[0] < S).sum()) if len(S) and float(S[0]) > 0 else 0
    return SVD(U, S.float(), V.T, residual, signal, 0.0)


def _residual(B: Tensor, A: Tensor, U: Tensor, S: Tensor, V: Tensor) -> Tensor:
    gap = B @ (A @ V) - U * S
    return torch.linalg.vector_norm(gap, dim=0) / S.clamp_min(torch.finfo(S.dtype).tiny)
