"""Block Krylov spaces of a matrix: an orthonormal basis that grows towards its strongest singular vectors."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.numerics.noise import RELATIVE_ZERO
from registry_auditor.numerics.rows import RowMatrix

START_SHARE = 8
"""The first block is made from one column in so many. Direction and noise lose alike, so that this is as good a start
as all columns, and costs an eighth."""

START_NOISE = 0.5
"""Size of the random vectors that are added to it, over its own: directions with nothing in those columns, which it
would never meet in a block-diagonal matrix, are found a block later."""


class Krylov:
    """The best approximations to the leading triplets of a matrix within a basis that `advance` extends.

    Source: Golub, Luk & Overton 1981, doi:10.1145/355945.355946, the block Lanczos method with full
    reorthogonalisation. Differs: each block starts from the images of the best right vectors so far, so that one
    product serves both the basis and the residuals.
    """

    def __init__(self, matrix: RowMatrix, width: int, seed: int) -> None:
        """Start from the images of `width` random directions of a share of the columns, and from noise."""
        self.matrix = matrix
        generator = torch.Generator().manual_seed(seed)  # of the CPU: one start for all devices
        sampled = max(min(4 * width, matrix.shape[1]), matrix.shape[1] // START_SHARE)
        start = matrix.sketch(torch.randn(sampled, width, generator=generator).to(matrix.device))
        size = torch.linalg.vector_norm(start, dim=0) * (START_NOISE / matrix.shape[0] ** 0.5)
        size[size == 0] = 1.0  # nothing changed there
        self.images = start + size * torch.randn(start.shape, generator=generator).to(matrix.device)
        """The products of the matrix with the best right vectors."""
        self.residual = torch.full((width,), torch.inf)
        """‖A v − σ u‖ / σ of the best triplets."""
        self.values = torch.empty(0, dtype=torch.float64)
        """σ of the best triplets, strongest first; each is at most the singular value that it becomes."""
        self.reach = np.empty(0)
        """‖A v‖ of the same: half a step closer to the singular value than σ, and still below it."""
        self.width = width
        self._basis: list[Tensor] = []  # blocks of Q
        self._adjoint: list[Tensor] = []  # blocks of B = A'Q
        self._gram = torch.zeros(0, 0, dtype=torch.float64, device=matrix.device)  # B'B
        self._fresh = self.images  # the part of the images outside the basis

    def advance(self) -> None:
        """One more block: a product with the transpose, and one with the matrix to see how good the result is."""
        block = orthonormal(self._without_basis(orthonormal(self._fresh)))
        self._basis.append(block)
        self._adjoint.append(self.matrix.transpose_times(block))
        self._extend_gram()
        self.values, self._mix = self._ritz()
        self._V = self._combine(self._adjoint, self._mix / self.values)
        self.images = self.matrix.times(self._V)
        self._fresh = self._without_basis(self.images)
        self.reach = torch.linalg.vector_norm(self.images, dim=0).double().cpu().numpy()
        self.residual = torch.linalg.vector_norm(self._fresh, dim=0, dtype=torch.float64) / self.values

    def triplets(self, k: int) -> tuple[Float[Tensor, "m k"], Float[Tensor, " k"], Float[Tensor, "n k"]]:
        """U, S (float64) and V, strongest first; fewer than k where the matrix has no more."""
        return self._combine(self._basis, self._mix[:, :k]), self.values[:k], self._V[:, :k]

    def _ritz(self) -> tuple[Tensor, Tensor]:
        squares, vectors = torch.linalg.eigh(self._gram)
        there = squares > RELATIVE_ZERO**2 * squares[-1]
        there[: -self.width] = False
        return squares[there].flip(0).sqrt(), vectors[:, there].flip(1)

    def _extend_gram(self) -> None:
        latest = self._adjoint[-1].double()
        borders = torch.cat([each.double().T @ latest for each in self._adjoint])
        old, new = len(self._gram), len(borders)
        grown = self._gram.new_empty(new, new)
        grown[:old, :old] = self._gram
        grown[:, old:], grown[old:] = borders, borders.T
        self._gram = grown

    def _without_basis(self, block: Tensor) -> Tensor:
        for known in self._basis:
            block = block - known @ (known.T @ block)
        return block

    @staticmethod
    def _combine(blocks: list[Tensor], mix: Tensor) -> Tensor:
        parts = torch.split(mix.float(), [each.shape[1] for each in blocks])
        total = torch.mm(blocks[0], parts[0])
        for block, part in zip(blocks[1:], parts[1:], strict=True):
            total = total.addmm_(block, part)
        return total


def orthonormal(block: Float[Tensor, "m w"]) -> Float[Tensor, "m r"]:
    """An orthonormal basis of the columns of `block`, without directions that are rounding beside its strongest.

    Source: Stathopoulos & Wu 2002, doi:10.1137/S1064827500370883, the SVQB method, in float64 so that one pass
    leaves no more than the rounding of float32.
    """
    wide = block.double()
    squares, vectors = torch.linalg.eigh(wide.T @ wide)
    kept = squares > RELATIVE_ZERO**2 * squares[-1]
    basis: Tensor = block @ (vectors[:, kept] / squares[kept].sqrt()).float()
    return basis
