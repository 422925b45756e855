"""Singular triplets of a product of two thin matrices, without the product."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.numerics.noise import RELATIVE_ZERO
from registry_auditor.numerics.svd import SVD, fix_signs


def factored_svd(B: Float[Tensor, "m r"], A: Float[Tensor, "r n"]) -> SVD:
    """The triplets of B · A, strongest first, as `truncated_svd` would give them; fewer than r where the rest is 0.

    An exact product carries no noise: `signal` is its numerical rank and `edge` is 0. Signs as in `truncated_svd`.
    Factors of any scale, also of very different ones. Memory: a few copies of the factors. The reference is
    `torch.linalg.svd(B @ A)` in float64.

    Raises:
        ValueError: if a factor holds a value that is not finite.
    """
    (B, b), (A_T, a) = _columns_near_one(B), _columns_near_one(A.T)
    weights = a * b  # the product is B diag(weights) A
    unit = float(weights.max()) if len(weights) else 1.0
    weights = weights / unit
    Q, R = torch.linalg.qr(B)
    P, T = torch.linalg.qr(A_T)
    core = (R.double() * weights) @ T.double().T  # r × r: float64 costs nothing and keeps the small singular values
    if not bool(torch.isfinite(core).all()):
        raise ValueError("a factor holds a NaN or an infinite value")
    left, S, right = torch.linalg.svd(core, full_matrices=False)
    there = S[:1] * RELATIVE_ZERO < S
    S = S[there]
    U, V = fix_signs(Q @ left[:, there].float(), P @ right[there].T.float())
    gaps = (B * weights.float()) @ (A_T.T @ V) - U * S.float()
    residual = torch.linalg.vector_norm(gaps, dim=0, dtype=torch.float64) / S
    return SVD(U, S * unit, V.T, residual.float(), len(S), 0.0)


def _columns_near_one(factor: Tensor) -> tuple[Tensor, Tensor]:
    """Each column over a power of two near its largest entry, and those powers: no square is lost in float32."""
    exponents = torch.frexp(factor.abs().amax(dim=0).double()).exponent if factor.numel() else torch.zeros(0)
    units = torch.pow(2.0, exponents.double().clamp(-500, 500))
    return (factor.double() / units).float(), units
