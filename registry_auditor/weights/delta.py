"""One matrix of the tuned model beside the same matrix of its base."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from registry_auditor.domain import Site
from registry_auditor.errors import NotApplicable, TensorError
from registry_auditor.weights.lowrank import LowRank, UpdatedRows
from registry_auditor.weights.matrix import is_finite, oriented, whole
from registry_auditor.weights.rows import BLOCK_BYTES, Rows, row_ranges, same_numbers


@dataclass(frozen=True, eq=False)
class Delta:
    """What became of one matrix. Nothing is read before it is asked for, and nothing large is kept."""

    site: Site
    shape: tuple[int, int]
    """(d_out, d_in) of what is compared."""
    norm: str | None
    """The tensor of the norm gain between this matrix and the residual stream."""
    transposed: bool
    """Whether `blocks` yields rows of the transpose."""
    stored_base: Rows | None
    """None for an adapter that is audited without its base."""
    stored_tuned: Rows | None
    """What the tuned model stores; of an adapter what it starts from, as a rule the base."""
    update: LowRank | None = None
    """The adapter's change of that."""
    offset: float = 0.0
    """What `base` and `tuned` add to each entry, as `Matrix.read` does."""
    note: str | None = None
    """What a person should know about the comparison."""

    @property
    def factors(self) -> tuple[Float[Tensor, "d_out r"], Float[Tensor, "r d_in"]] | None:
        """B and A in float32 with the scale folded in, so that the update is B A; None for a dense update.

        They are read at each call. Raises TensorError for NaN or infinite values.
        """
        if self.update is None or not self.update.is_plain or not self._starts_from_base:
            return None
        return self.update.factors

    @cached_property
    def _starts_from_base(self) -> bool:
        """PEFT saves a copy of each embedding that it updates; as a rule, the copy is the base's."""
        if self.stored_base is None or self.stored_tuned is None:
            return True
        return self.stored_tuned is self.stored_base or same_numbers(self.stored_base, self.stored_tuned)

    @property
    def has_base(self) -> bool:
        """Whether `base`, `tuned` and `blocks` can be read."""
        return self.stored_base is not None

    def blocks(self, max_bytes: int = BLOCK_BYTES) -> Iterator[tuple[Shaped[Tensor, "n c"], Shaped[Tensor, "n c"]]]:
        """The same rows of base and tuned, as stored: of an extended vocabulary the shared ones only.

        Raises NotApplicable for an adapter without its base.
        """
        base, tuned = self._stored()
        for start, stop in row_ranges(base, tuned, max_bytes=max_bytes):
            yield base.rows(start, stop), tuned.rows(start, stop)

    @cached_property
    def identical(self) -> bool:
        """Whether nothing changed; stops at the first block that differs."""
        if (factors := self.factors) is not None:
            b, a = factors
            return not bool(b.any()) or not bool(a.any())
        return same_numbers(*self._stored())

    @property
    def base(self) -> Float[Tensor, "d_out d_in"]:
        """Raises TensorError for NaN or infinite values, NotApplicable for an adapter without its base."""
        return self._read(self._stored()[0], "the base")

    @property
    def tuned(self) -> Float[Tensor, "d_out d_in"]:
        """Raises like `base`."""
        return self._read(self._stored()[1], "the tuned model")

    @property
    def delta(self) -> Float[Tensor, "d_out d_in"]:
        """The update, tuned - base; peak memory is one copy of it and a pair of blocks. Raises like `base`."""
        if (factors := self.factors) is not None:
            b, a = factors
            return self._finite(b @ a, "the update")
        base, tuned = self._stored()
        values = torch.empty(base.shape, dtype=torch.float32)
        for start, stop in row_ranges(base, tuned):
            values[start:stop].copy_(tuned.rows(start, stop)).sub_(base.rows(start, stop))
        return oriented(self._finite(values, "the update"), transposed=self.transposed)

    def _stored(self) -> tuple[Rows, Rows]:
        if self.stored_base is None or self.stored_tuned is None:
            raise NotApplicable(f"{self.site.tensor}: the adapter is audited without its base; pass it with --base")
        if self.update is None:
            return self.stored_base, self.stored_tuned
        return self.stored_base, UpdatedRows(self.stored_tuned, self.update, self.transposed)

    def _read(self, stored: Rows, owner: str) -> Tensor:
        values = self._finite(whole(stored), owner)
        return oriented(values.add_(self.offset), transposed=self.transposed)

    def _finite(self, values: Tensor, owner: str) -> Tensor:
        if not is_finite(values):
            raise TensorError(self.site.tensor, f"{owner} holds NaN or infinite values")
        return values
