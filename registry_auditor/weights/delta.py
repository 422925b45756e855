"""Two snapshots, matrix by matrix: what the fine-tuning changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from registry_auditor.domain import Gap, Site
from registry_auditor.errors import NotApplicable, TensorError, WeightsError
from registry_auditor.weights.matrix import Matrix, oriented, whole
from registry_auditor.weights.rows import BLOCK_BYTES, Rows, first_rows, row_ranges
from registry_auditor.weights.snapshot import Snapshot

_VOCABULARY = frozenset({"embed", "unembed"})


@dataclass(frozen=True, eq=False)
class Delta:
    """One matrix of the tuned model beside the same one of its base. Nothing is read before it is asked for."""

    site: Site
    shape: tuple[int, int]
    norm: str | None
    transposed: bool
    """Whether `blocks` yields rows of the transpose."""
    offset: float
    stored_base: Rows | None
    stored_tuned: Rows | None
    note: str | None = None
    """What a person should know about the comparison."""

    @property
    def factors(self) -> tuple[Float[Tensor, "d_out r"], Float[Tensor, "r d_in"]] | None:
        """B and A in float32 with the scale folded in, so that the update is B A; None for a dense update."""
        return None

    @property
    def has_base(self) -> bool:
        """Whether `base` and `tuned` can be read."""
        return self.stored_base is not None

    def blocks(self, max_bytes: int = BLOCK_BYTES) -> Iterator[tuple[Shaped[Tensor, "n c"], Shaped[Tensor, "n c"]]]:
        """The same rows of base and tuned, as stored: of an extended vocabulary the shared ones only."""
        base, tuned = self._stored()
        for start, stop in row_ranges(base, tuned, max_bytes=max_bytes):
            yield base.rows(start, stop), tuned.rows(start, stop)

    @cached_property
    def identical(self) -> bool:
        """Whether nothing changed; stops at the first block that differs."""
        return all(_same(base, tuned) for base, tuned in self.blocks())

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
        base, tuned = self._stored()
        values = torch.empty(base.shape, dtype=torch.float32)
        for start, stop in row_ranges(base, tuned):
            torch.sub(tuned.rows(start, stop).float(), base.rows(start, stop).float(), out=values[start:stop])
        return oriented(self._finite(values, "the update"), transposed=self.transposed)

    def _stored(self) -> tuple[Rows, Rows]:
        if self.stored_base is None or self.stored_tuned is None:
            raise NotApplicable(f"{self.site.tensor}: the adapter is audited without its base; pass it with --base")
        return self.stored_base, self.stored_tuned

    def _read(self, stored: Rows, owner: str) -> Tensor:
        values = self._finite(whole(stored), owner)
        return oriented(values, transposed=self.transposed).add_(self.offset)

    def _finite(self, values: Tensor, owner: str) -> Tensor:
        if not bool(torch.isfinite(values).all()):
            raise TensorError(self.site.tensor, f"{owner} holds NaN or infinite values")
        return values


def _same(base: Tensor, tuned: Tensor) -> bool:
    if base.dtype != tuned.dtype:
        common = torch.promote_types(base.dtype, tuned.dtype)
        return torch.equal(base.to(common), tuned.to(common))
    return torch.equal(_bits(base), _bits(tuned))


def _bits(values: Tensor) -> Tensor:
    return values.contiguous().view(torch.uint8)


@dataclass(frozen=True, eq=False)
class Pairing:
    """Every matrix that two snapshots share, and everything that they do not."""

    deltas: tuple[Delta, ...]
    gaps: tuple[Gap, ...] = ()
    added: tuple[str, ...] = ()
    """Tensors, or rows of the vocabulary, that only the tuned model has."""
    removed: tuple[str, ...] = ()
    """Likewise of the base."""
    n_untouched: int = 0
    """Matrices of the base that an adapter leaves as they are; they are no deltas."""


def pair(tuned: Snapshot, base: Snapshot | None) -> Pairing:
    """Every matrix of `tuned` beside the one of `base`, in the order of the tuned model.

    Raises WeightsError if `base` is an adapter, or is missing although `tuned` is a full model.
    """
    if base is not None and base.adapter_config is not None:
        raise WeightsError(f"{base.path}: is an adapter and cannot be a base; pass the model it was trained on")
    if base is None:
        raise WeightsError(f"{tuned.path}: is a whole model; pass the model it was trained from with --base")
    return _pair_full(tuned, base)


def _pair_full(tuned: Snapshot, base: Snapshot) -> Pairing:
    of_base = {matrix.key: matrix for matrix in base.matrices.values()}
    deltas: list[Delta] = []
    gaps: list[Gap] = []
    added: list[str] = []
    for matrix in tuned.matrices.values():
        other = of_base.pop(matrix.key, None)
        if other is None:
            added.append(matrix.site.tensor)
        elif why := _mismatch(matrix, other):
            gaps.append(Gap(matrix.site.tensor, why))
        else:
            deltas.append(_dense(matrix, other))
            added.extend(_extra_rows(matrix, other))
    removed = tuple(matrix.site.tensor for matrix in of_base.values())
    return Pairing(tuple(deltas), (*tuned.gaps, *base.gaps, *gaps), tuple(added), removed)


def _mismatch(tuned: Matrix, base: Matrix) -> str | None:
    if tuned.stored_transposed != base.stored_transposed:
        return "the two files keep it in different orientations; convert one of them"
    (rows, columns), (base_rows, base_columns) = tuned.stored.shape, base.stored.shape
    if columns == base_columns and (rows == base_rows or tuned.site.role in _VOCABULARY):
        return None
    return f"{tuned.site}: base is {base.shape}, tuned is {tuned.shape}; pass the right base with --base"


def _dense(tuned: Matrix, base: Matrix) -> Delta:
    shared = min(tuned.stored.shape[0], base.stored.shape[0])
    total = max(tuned.stored.shape[0], base.stored.shape[0])
    rows, columns = shared, tuned.stored.shape[1]
    verb = "extended" if tuned.stored.shape[0] > base.stored.shape[0] else "cut"
    return Delta(
        site=tuned.site,
        shape=(columns, rows) if tuned.stored_transposed else (rows, columns),
        norm=tuned.norm,
        transposed=tuned.stored_transposed,
        offset=tuned.offset,
        stored_base=first_rows(base.stored, shared),
        stored_tuned=first_rows(tuned.stored, shared),
        note=None if shared == total else f"{shared} of {total} rows compared: the vocabulary was {verb}",
    )


def _extra_rows(tuned: Matrix, base: Matrix) -> Iterator[str]:
    rows, base_rows = tuned.stored.shape[0], base.stored.shape[0]
    if rows > base_rows:
        yield f"{tuned.site.tensor} rows {base_rows}..{rows - 1}"
