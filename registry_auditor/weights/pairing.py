"""Two snapshots, matrix by matrix: what can be compared, and what only one of them has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from registry_auditor.domain import Gap, Site
from registry_auditor.errors import WeightsError
from registry_auditor.weights import layout
from registry_auditor.weights.delta import Delta
from registry_auditor.weights.facts import Facts
from registry_auditor.weights.fused import PART_ROLES
from registry_auditor.weights.lowrank import LowRank
from registry_auditor.weights.matrix import Matrix
from registry_auditor.weights.names import locate
from registry_auditor.weights.rows import first_rows
from registry_auditor.weights.snapshot import Snapshot

_VOCABULARY = frozenset({"embed", "unembed"})


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


@dataclass(frozen=True, eq=False)
class _Base:
    """The matrices of a base by key, and which of them have been asked for."""

    by_key: dict[str, Matrix]
    tied_unembedding: Matrix | None
    taken: set[str]

    def take(self, key: str, role: str) -> Matrix | None:
        """The matrix with that key; for an untied unembedding of a tied base, its embedding seen as one."""
        if key not in self.by_key:
            return self.tied_unembedding if role == "unembed" else None
        self.taken.add(key)
        return self.by_key[key]

    def untouched(self) -> list[Matrix]:
        """What nobody asked for."""
        return [matrix for key, matrix in self.by_key.items() if key not in self.taken]


def pair(tuned: Snapshot, base: Snapshot | None) -> Pairing:
    """Every matrix that `tuned` has or changes beside the one of `base`, in the order of `tuned`.

    Reads nothing but headers. Raises WeightsError if `base` is an adapter, or is None although `tuned` is a
    whole model.
    """
    if base is not None and base.adapter is not None:
        raise WeightsError(f"{base.path}: is an adapter and cannot be a base; pass the model it was trained on")
    if base is None and tuned.adapter is None:
        raise WeightsError(f"{tuned.path}: is a whole model; pass the model it was trained from with --base")
    matrices = {matrix.key: matrix for matrix in base.matrices.values()} if base else {}
    unembed = next(iter(base.find("unembed")), None) if base else None
    known = _Base(matrices, unembed, set())
    if tuned.adapter is not None:
        return _pair_adapter(tuned, base, known)
    dense = _pair_dense(tuned.matrices.values(), known)
    removed = _lacking(tuned, (matrix.site.tensor for matrix in known.untouched()))
    added = _lacking(base, dense.added) if base else dense.added
    return replace(dense, gaps=_united(tuned, base, dense.gaps), added=added, removed=removed)


def _lacking(snapshot: Snapshot, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that `snapshot` does not have; what it has and nobody can read is a gap, and not lacking."""
    unread = {_module(gap.tensor) for gap in snapshot.gaps}
    return tuple(name for name in names if snapshot.matrices and _module(name) not in unread)


def _module(tensor: str) -> str:
    return tensor.partition("[")[0].removesuffix(".weight")


def _united(tuned: Snapshot, base: Snapshot | None, gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    return tuple(dict.fromkeys((*tuned.gaps, *(base.gaps if base else ()), *gaps)))


def _pair_dense(matrices: Iterable[Matrix], known: _Base) -> Pairing:
    deltas: list[Delta] = []
    gaps: list[Gap] = []
    added: list[str] = []
    for matrix in matrices:
        other = known.take(matrix.key, matrix.site.role)
        if other is None:
            added.append(matrix.site.tensor)
        elif why := _mismatch(matrix, other):
            gaps.append(Gap(matrix.site.tensor, why))
        else:
            deltas.append(_dense(matrix, other))
            added.extend(_extra_rows(matrix, other))
    return Pairing(tuple(deltas), tuple(gaps), tuple(added))


def _mismatch(tuned: Matrix, base: Matrix) -> str | None:
    if tuned.stored_transposed != base.stored_transposed:
        return "the two files keep it in different orientations; convert one of them"
    (rows, columns), (base_rows, base_columns) = tuned.stored.shape, base.stored.shape
    if columns == base_columns and (rows == base_rows or tuned.site.role in _VOCABULARY):
        return None
    return f"{tuned.site}: base is {base.shape}, tuned is {tuned.shape}; pass the right base with --base"


def _dense(tuned: Matrix, base: Matrix) -> Delta:
    rows, base_rows = tuned.stored.shape[0], base.stored.shape[0]
    shared = min(rows, base_rows)
    columns = tuned.stored.shape[1]
    verb = "extended" if rows > base_rows else "cut"
    note = f"{shared} of {max(rows, base_rows)} rows compared: the vocabulary was {verb}"
    return Delta(
        site=tuned.site,
        shape=(columns, shared) if tuned.stored_transposed else (shared, columns),
        norm=tuned.norm,
        transposed=tuned.stored_transposed,
        offset=tuned.offset,
        stored_base=first_rows(base.stored, shared),
        stored_tuned=first_rows(tuned.stored, shared),
        note=None if rows == base_rows else note,
    )


def _extra_rows(tuned: Matrix, base: Matrix) -> Iterator[str]:
    rows, base_rows = tuned.stored.shape[0], base.stored.shape[0]
    if rows > base_rows:
        yield f"{tuned.site.tensor} rows {base_rows}..{rows - 1}"


def _pair_adapter(tuned: Snapshot, base: Snapshot | None, known: _Base) -> Pairing:
    assert tuned.adapter is not None
    facts = base.facts if base else tuned.facts
    replaced, _ = layout.matrices(tuned.adapter.dense.values(), replace(facts, tied=False))
    own = {matrix.key: matrix for matrix in replaced.values()}
    deltas: list[Delta] = []
    gaps: list[Gap] = []
    for update in tuned.adapter.updates:
        for key, site, part in _parts(update, facts):
            other = known.take(key, site.role)
            named = known.by_key[key].site if key in known.by_key else site  # as the base calls it, if it does
            result = _factored(named, part, base=other, own=own.pop(key, None), alone=base is None)
            if isinstance(result, Gap):
                gaps.append(result)
            else:
                deltas.append(result)
    if base is None:
        gaps.extend(
            Gap(m.site.tensor, "replaces a matrix of the base; pass the base with --base") for m in own.values()
        )
        dense = Pairing(())
    else:
        dense = _pair_dense(own.values(), known)
    every = sorted((*deltas, *dense.deltas), key=_order)
    gaps.extend(dense.gaps)
    return Pairing(tuple(every), _united(tuned, base, tuple(gaps)), dense.added, (), len(known.untouched()))


def _order(delta: Delta) -> tuple[int, str]:
    return layout.order(delta.site)


def _parts(update: LowRank, known: Facts) -> Iterator[tuple[str, Site, LowRank]]:
    """The update of each matrix that the base's tensor is divided into, with its key and site."""
    place = locate(update.name, known)
    cuts = layout.cuts(place, known, update.shape[0], axis=0) if place.role in layout.FUSED_ROLES else []
    if not cuts:
        yield layout.key_of(place), Site(update.name, place.layer, place.role, place.side), update
    for part, cut in cuts:
        role = PART_ROLES[part]
        yield f"{place.key}[{part}]", Site(f"{update.name}[{part}]", place.layer, role, place.side), update.part(cut)


def _factored(site: Site, update: LowRank, *, base: Matrix | None, own: Matrix | None, alone: bool) -> Delta | Gap:
    if base is None:
        if not alone:
            return Gap(site.tensor, "is changed by the adapter and is not in the base; pass the right base with --base")
        if not update.is_plain:
            return Gap(site.tensor, "is changed by DoRA, which depends on the base; pass it with --base")
        return Delta(site, update.shape, None, False, None, None, update, note=update.note)
    if update.shape != base.shape:
        return Gap(
            site.tensor,
            f"{site}: base is {base.shape}, the adapter is {update.shape}; pass the right base with --base",
        )
    if own is not None and (why := _mismatch(own, base)):
        return Gap(site.tensor, why)
    return Delta(
        site=site,
        shape=base.shape,
        norm=base.norm,
        transposed=base.stored_transposed,
        stored_base=base.stored,
        stored_tuned=base.stored if own is None else own.stored,
        update=update,
        note=update.note,
    )
