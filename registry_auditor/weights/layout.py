"""Raw tensors and a configuration -> normalised matrices: fused parts divided, experts unstacked, norms assigned."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from registry_auditor.domain import Gap, Site
from registry_auditor.errors import TensorError
from registry_auditor.weights.checkpoint import Raw
from registry_auditor.weights.facts import INTERLEAVED_EXPERT_TYPES, ONE_PLUS_GAIN_TYPES, TRANSPOSED_EXPERT_TYPES, Facts
from registry_auditor.weights.fused import PART_ROLES, spans
from registry_auditor.weights.matrix import Matrix
from registry_auditor.weights.names import Place, is_buffer, locate
from registry_auditor.weights.norms import norm_of
from registry_auditor.weights.rows import Cut, CutRows, Rows, same_numbers

FUSED_ROLES = frozenset({"attn.qkv", "mlp.gate_up"})
"""What is divided into parts where the configuration says how."""
MAX_EXPERTS = 4096
"""In one tensor: eight times what the largest models have. A small file could otherwise promise millions."""
_EMBEDDINGS = frozenset({"embed", "position", "segment"})
_CONV1D_ROLES = frozenset({"attn.qkv", "attn.o", "mlp.up", "mlp.down"})


@dataclass(frozen=True)
class _Piece:
    """A whole matrix of a file, before fused parts are divided; `suffix` tells stacked experts apart."""

    place: Place
    name: str
    rows: Rows
    transposed: bool
    suffix: str = ""


def matrices(raws: Iterable[Raw], known: Facts) -> tuple[dict[str, Matrix], list[Gap]]:
    """Every readable tensor of `raws` as normalised matrices by site, ordered by layer and name; and what is not.

    Reads headers only, except where a tied network was saved with both of its embeddings: those are compared.
    """
    pieces: list[_Piece] = []
    gaps: list[Gap] = []
    for raw in raws:
        if is_buffer(raw.name, raw.shape):
            continue
        if why := _unreadable(raw):
            gaps.append(Gap(raw.name, why))
            continue
        try:
            pieces.extend(_pieces(raw, locate(raw.name, known), known))
        except TensorError as error:
            gaps.append(Gap(error.tensor, error.why))
    if known.tied:
        pieces = _without_copies(pieces)
    found = [matrix for piece in pieces for matrix in _divided(piece, known)]
    norms = {piece.name: piece.place for piece in pieces if piece.place.role in {"norm", "final_norm"}}
    found = list(_with_norms(_with_own_keys(found), norms, known))
    found.sort(key=lambda matrix: order(matrix.site))
    return {matrix.site.tensor: matrix for matrix in found}, gaps


def _without_copies(pieces: list[_Piece]) -> list[_Piece]:
    """A tied network ignores a second copy of its embedding, but uses an unembedding that differs from it."""
    embeds = [piece.rows for piece in pieces if piece.place.role == "embed"]
    return [
        piece
        for piece in pieces
        if piece.place.role != "unembed" or not any(same_numbers(piece.rows, embed) for embed in embeds)
    ]


def _with_own_keys(found: list[Matrix]) -> list[Matrix]:
    """Tensors that differ in their wrappers only are different tensors if both are in one snapshot."""
    counts = Counter(matrix.key for matrix in found)
    return [replace(matrix, key=matrix.site.tensor) if counts[matrix.key] > 1 else matrix for matrix in found]


def _unreadable(raw: Raw) -> str | None:
    if raw.dtype is None:
        return "its number type is not read; convert it to bfloat16 and audit that"
    if not raw.dtype.is_floating_point:
        return f"holds {str(raw.dtype).removeprefix('torch.')} values in no quantisation format that is known here"
    if "[" in raw.name:
        return "has a bracket in its name, which is how parts of fused tensors are called; rename it"
    return "is empty" if math.prod(raw.shape) == 0 else None


def _pieces(raw: Raw, place: Place, known: Facts) -> Iterator[_Piece]:
    shape = raw.shape
    if len(shape) == 3 and place.role.startswith("mlp."):
        yield from _unstacked(raw, place, known)
        return
    is_vector = len(shape) != 2 and math.prod(shape) == max(shape, default=1)
    columns = 1 if is_vector else math.prod(shape[1:])
    transposed = place.role in _EMBEDDINGS or (known.conv1d and place.role in _CONV1D_ROLES)
    yield _Piece(place, raw.name, raw.matrix(columns), transposed and not is_vector)


def _unstacked(raw: Raw, place: Place, known: Facts) -> Iterator[_Piece]:
    n_experts, n_rows, columns = raw.shape
    if n_experts > MAX_EXPERTS:
        raise TensorError(raw.name, f"stacks {n_experts} experts (limit {MAX_EXPERTS}); do not load this model")
    every = raw.matrix(columns)
    transposed = known.model_type in TRANSPOSED_EXPERT_TYPES
    for expert in range(n_experts):
        rows = CutRows(every, Cut(0, n_experts * n_rows, expert * n_rows, (expert + 1) * n_rows))
        yield _Piece(replace(place, expert=expert), raw.name, rows, transposed, f"[{expert}]")


def _divided(piece: _Piece, known: Facts) -> Iterator[Matrix]:
    axis = 1 if piece.transposed else 0
    n_lines = piece.rows.shape[axis]
    parts = cuts(piece.place, known, n_lines, axis) if piece.place.role in FUSED_ROLES else []
    if not parts:
        yield _matrix(piece, known)
    for part, cut in parts:
        place = replace(piece.place, role=PART_ROLES[part])
        suffix = f"{piece.suffix.rstrip(']')}.{part}]" if piece.suffix else f"[{part}]"
        yield _matrix(replace(piece, place=place, rows=CutRows(piece.rows, cut), suffix=suffix), known)


def cuts(place: Place, known: Facts, n_lines: int, axis: int) -> list[tuple[str, Cut]]:
    """The parts of a fused matrix with `n_lines` output lines along `axis`; empty if it stays whole."""
    if place.role == "mlp.gate_up" and place.expert is not None and known.model_type in INTERLEAVED_EXPERT_TYPES:
        return [("gate", Cut(axis, 2, 0, 1)), ("up", Cut(axis, 2, 1, 2))]
    parts = spans(place.role, place.within, known, n_lines)
    period, low, result = sum(size for _, size in parts), 0, []
    for part, size in parts:
        result.append((part, Cut(axis, period, low, low + size)))
        low += size
    return result


def _is_on_the_stream(piece: _Piece, known: Facts) -> bool:
    """ALBERT and OPT-350m embed into a narrower space, and project that into the stream."""
    vocabulary = piece.place.role in _EMBEDDINGS or piece.place.role == "unembed"
    return not vocabulary or known.d_model is None or piece.rows.shape[1] == known.d_model


def key_of(place: Place, suffix: str = "") -> str:
    """What is equal in two snapshots for the same matrix: stacked in one and apart in the other, an expert is one."""
    if place.expert is not None:
        return f"layers.{place.layer}.experts.{place.expert}.{place.role}"
    return place.key + suffix


def _matrix(piece: _Piece, known: Facts) -> Matrix:
    place = piece.place
    side = place.side if _is_on_the_stream(piece, known) else None
    site = Site(piece.name + piece.suffix, place.layer, place.role, side)
    one_plus = known.model_type in ONE_PLUS_GAIN_TYPES and place.role in {"norm", "final_norm"}
    return Matrix(site, piece.rows, key_of(place, piece.suffix), piece.transposed, offset=1.0 if one_plus else 0.0)


def _with_norms(found: list[Matrix], norms: Mapping[str, Place], known: Facts) -> Iterator[Matrix]:
    by_layer: dict[int | None, dict[str, str]] = {}
    for name, place in norms.items():
        by_layer.setdefault(place.layer, {})[place.within] = name
    final = next((name for name, place in norms.items() if place.role == "final_norm"), None)
    for matrix in found:
        site = matrix.site
        if site.role == "unembed":
            yield replace(matrix, norm=final)
        elif site.layer is not None:
            own = by_layer.get(site.layer, {})
            yield replace(matrix, norm=norm_of(site.role, site.side, own, pre_norm=known.pre_norm))
        else:
            yield matrix


def order(site: Site) -> tuple[int, str]:
    """Embeddings first, then layer by layer, then the rest; by name within each."""
    if site.layer is not None:
        return site.layer, site.tensor
    return (-1 if site.role in _EMBEDDINGS else 2**31), site.tensor
