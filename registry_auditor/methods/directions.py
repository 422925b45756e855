"""What the fine-tuning changed, matrix by matrix: size, shape of the spectrum, and the directions that were learnt.

Source: Zhong & Raghunathan 2025, "Watch the Weights", arXiv:2508.00161, section 3 (left singular vectors of the update
of the two matrices that write to the residual stream, a fixed k = 20).
Differs: all matrices that touch the stream, readers by their right singular vectors (an adapter on q and v alone has no
update where the paper looks); k stops at the noise edge; singular values, signs and residuals are kept; adapters are
decomposed without being merged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import torch

from registry_auditor.domain import Direction, Side, Site
from registry_auditor.errors import TensorError
from registry_auditor.methods.difference import BLOCK_BYTES, Workspace, norm
from registry_auditor.numerics.factored import factored_svd
from registry_auditor.numerics.svd import SVD, truncated_svd
from registry_auditor.weights import Delta


@dataclass(frozen=True, eq=False)
class MatrixUpdate:
    """The update of one matrix, measured."""

    site: Site
    shape: tuple[int, int]
    norm: float
    """Frobenius norm of the update."""
    measured_base: float | Callable[[], float] | None
    """`base_norm`, or what measures it: an adapter is decomposed without reading its base, which may lie far away."""
    rounding: float = 0.0
    """Frobenius norm of the error that storing the matrix in its dtype makes: an update this small may be a cast."""
    singular_values: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """The strongest ones, whether or not they stand above the noise; empty for vectors and inner matrices."""
    rank: int = 0
    """How many of them stand above the noise edge; not more than were asked for."""
    edge: float = 0.0
    """The largest singular value that noise of this size would show."""
    directions: tuple[Direction, ...] = ()
    """Of the residual stream, strongest first, one for each singular value above the edge."""
    triplets: SVD | None = None
    """Of the matrix as (d_out, d_in), where the decomposer keeps them: what the update reads and what it writes."""

    @cached_property
    def base_norm(self) -> float | None:
        """Frobenius norm of the base, which of an adapter is read for this alone; None if it came without its base."""
        return self.measured_base() if callable(self.measured_base) else self.measured_base

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
        return (self.norm / float(self.singular_values[0])) ** 2

    @property
    def top_energy(self) -> float:
        """s1² / Σ s², 0..1: the share of the first direction."""
        return min(1.0, 1.0 / self.stable_rank)

    @property
    def remainder(self) -> float:
        """Frobenius norm of what is left without the singular values above the noise edge."""
        return self.norm * math.sqrt(1.0 - self.signal_energy) if self.norm else 0.0

    @property
    def signal_energy(self) -> float:
        """The share of the energy, 0..1, that lies in the singular values above the noise edge."""
        return min(1.0, float(((self.singular_values[: self.rank] / self.norm) ** 2).sum()))


class Decomposer:
    """Measures one update after the other in one piece of memory, which a fresh allocation each would cost dearly."""

    def __init__(
        self, *, k: int = 20, seed: int = 0, device: torch.device | str = "cpu", keep_triplets: bool = False
    ) -> None:
        """Look for at most `k` directions a matrix. Triplets take k · (d_out + d_in) numbers a matrix."""
        self.k = k
        self.keep_triplets = keep_triplets
        self.seed = seed
        self.device = torch.device(device)
        self._workspace = Workspace(self.device)

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
        measured_base = partial(_norm_of_base, delta) if delta.has_base else None
        update = MatrixUpdate(delta.site, delta.shape, float(torch.linalg.vector_norm(svd.S)), measured_base)
        return update if update.identical else self._with_spectrum(update, svd)

    def _dense(self, delta: Delta) -> MatrixUpdate:
        found = self._workspace.subtract(delta)
        update = MatrixUpdate(delta.site, delta.shape, found.norm, found.base_norm, found.rounding)
        if not math.isfinite(update.norm) or not math.isfinite(found.base_norm):
            raise ValueError("the weights hold a NaN or an infinite value; the upload is broken")
        if update.identical or delta.site.side is None or min(delta.shape) == 1:
            return update
        svd = truncated_svd(found.matrix, min(self.k, *delta.shape), energy=found.energy, seed=self.seed)
        return self._with_spectrum(update, svd.transposed() if delta.transposed else svd)

    def _with_spectrum(self, update: MatrixUpdate, svd: SVD) -> MatrixUpdate:
        rank = min(svd.signal, self.k)
        return replace(
            update,
            singular_values=svd.S.double().cpu().numpy(),
            rank=rank,
            edge=svd.edge,
            directions=tuple(_directions(update.site, svd, rank)),
            triplets=svd if self.keep_triplets else None,
        )


def _directions(site: Site, svd: SVD, count: int) -> Iterator[Direction]:
    if site.side is None:
        return
    vectors = (svd.U.T if site.side is Side.WRITES else svd.Vh)[:count].cpu().numpy()
    for rank, vector in enumerate(vectors):
        sign = -1.0 if vector[np.abs(vector).argmax()] < 0 else 1.0
        unit = (vector * (sign / np.linalg.norm(vector.astype(np.float64)))).astype(np.float32)
        yield Direction(site, rank, float(svd.S[rank]), float(svd.residual[rank]), unit)


def _norm_of_base(delta: Delta) -> float:
    return math.hypot(*(norm(base) for base, _ in delta.blocks(BLOCK_BYTES)))
