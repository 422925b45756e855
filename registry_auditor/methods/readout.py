"""What directions of the residual stream say in tokens.

Source: logit lens, nostalgebraist 2020; Millidge and Black 2022, "The Singular Value Decompositions of Transformer
Weight Matrices are Highly Interpretable", for singular vectors.
Differs: directions of an update; the gains of the norms are folded in; token scores are standardised cosines, and every
readout carries a p-value (see `numerics.unembed.project`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.domain import Direction, Side, Site, TokenReadout
from registry_auditor.errors import NotApplicable, TensorError
from registry_auditor.numerics.rows import RowMatrix
from registry_auditor.numerics.unembed import MIN_NULL, Probes, Projection, project
from registry_auditor.weights import Matrix, Snapshot
from registry_auditor.weights.readable import scripts
from registry_auditor.weights.vocabulary import Vocabulary

BLOCK_BYTES = 8 * 2**20
_RMS_KEYS = frozenset({"rms_norm_eps", "rms_norm_epsilon"})
_RMS_TYPES = frozenset({"mamba", "mamba2", "falcon_mamba", "openelm", "lfm2", "qwen"})
"""Architectures whose norms do not centre although no key of the configuration says so."""
_LANGUAGE_MODEL = re.compile(r"LM|Generation|PreTraining")
"""In the name of a class of transformers that has an unembedding."""


@dataclass(frozen=True)
class _Lens:
    """Through what a direction is read."""

    table: Matrix
    """The embedding or the unembedding."""
    gains: tuple[str, ...]
    """The norms whose product stands between the direction and the table."""
    centred: bool
    """Whether the norm next to the stream subtracts the mean over the dimensions."""

    @property
    def of_inputs(self) -> bool:
        """Whether the rows of the table go through the norms, and not the directions."""
        return self.table.site.role == "embed"


def read_directions(
    directions: Sequence[Direction],
    snapshot: Snapshot,
    vocabulary: Vocabulary,
    *,
    top: int = 10,
    null: int = 500,
    seed: int = 0,
) -> list[Direction]:
    """Copies of `directions`, in their order, with `tokens` filled in.

    A direction that a matrix writes is read through the norm after the matrix, where there is one, the final norm and
    the unembedding: the tokens it makes more or less likely. A direction that a matrix reads is seen through the norm
    before the matrix and the embedding: the tokens that make the matrix respond. What the unembedding itself reads
    lies behind all norms and is compared with its rows. Factors by which a network multiplies embeddings, logits or
    branches (Gemma's √d, Granite's multipliers) do not matter: scores have no scale.

    A direction comes back as it is where its matrix is unknown to `snapshot` or it has not the length of an
    embedding row. Directions with the same gain share the random directions of the null. Rows beyond the tokenizer's
    size take part, under the name that `vocabulary` gives them.

    Raises:
        NotApplicable: If `snapshot` has no unembedding: an encoder, an adapter without its base.
        TensorError: If the embedding, the unembedding or a gain holds NaN or infinite values or has the wrong size.
        ValueError: If `null` is less than `MIN_NULL`.
    """
    if null < MIN_NULL:
        raise ValueError(f"null is {null}; with fewer than {MIN_NULL} random directions nothing can be told")
    groups: dict[tuple[str, bool], dict[int, _Lens]] = defaultdict(dict)
    for i, lens in enumerate(_lenses(directions, snapshot)):
        if lens is not None:
            groups[lens.table.site.role, lens.centred][i] = lens
    read = list(directions)
    for lenses in groups.values():
        projection = _projected(directions, lenses, snapshot, top=top, null=null, seed=seed)
        for row, i in enumerate(lenses):
            read[i] = replace(directions[i], tokens=_readout(projection, row, vocabulary))
    return read


def script_mix(directions: Iterable[Direction]) -> dict[str, float]:
    """Which share of the characters in the top tokens of `directions` each script has, most frequent first."""
    counted: Counter[str] = Counter()
    for direction in directions:
        for token, _ in direction.tokens.top if direction.tokens else ():
            counted += scripts(token)
    return {script: count / counted.total() for script, count in counted.most_common()}


def _lenses(directions: Sequence[Direction], snapshot: Snapshot) -> Iterator[_Lens | None]:
    unembed = _unembedding(snapshot)
    embed = next(iter(snapshot.find("embed")), None)
    centred = _centres(snapshot)
    matrices = {_place(matrix.site): matrix for matrix in snapshot.matrices.values()} | dict(snapshot.matrices)
    for direction in directions:
        site = direction.site
        matrix = matrices.get(site.tensor) or matrices.get(_place(site))
        norm = (matrix.norm,) if matrix is not None and matrix.norm else ()
        lens = None
        if site.role == "unembed":
            lens = _Lens(unembed, (), centred=False)
        elif matrix is not None and site.side is Side.WRITES:
            final = (unembed.norm,) if unembed.norm else ()
            lens = _Lens(unembed, norm + final, centred)
        elif matrix is not None and site.side is Side.READS and embed is not None:
            lens = _Lens(embed, norm, centred)
        yield lens if lens and direction.vector.shape == lens.table.stored.shape[1:] else None


def _place(site: Site) -> tuple[int | None, str]:
    """An adapter may name the tensors otherwise than its base does."""
    return site.layer, site.role


def _unembedding(snapshot: Snapshot) -> Matrix:
    found = snapshot.find("unembed")
    if not found:
        raise NotApplicable("no unembedding: give the base of the adapter, or a whole language model")
    declared = snapshot.config.get("architectures")
    names = [name for name in declared if isinstance(name, str)] if isinstance(declared, list) else []
    is_embedding = any(found[0].stored is each.stored for each in snapshot.find("embed"))
    if is_embedding and names and not any(_LANGUAGE_MODEL.search(name) for name in names):
        raise NotApplicable(f"{names[0]} predicts no tokens: it has no unembedding to read directions with")
    return found[0]


def _centres(snapshot: Snapshot) -> bool:
    """Whether the norms are LayerNorms, with or without parameters, before the matrices that read."""
    inner = snapshot.config.get("text_config")
    keys = {*snapshot.config, *(inner if isinstance(inner, dict) else ())}
    known = snapshot.facts
    return bool(keys) and known.pre_norm and not (keys & _RMS_KEYS or known.model_type in _RMS_TYPES)


def _projected(
    directions: Sequence[Direction], lenses: Mapping[int, _Lens], snapshot: Snapshot, **options: int
) -> Projection:
    """All directions that are read through one table, in the order of `lenses`."""
    first = next(iter(lenses.values()))
    table = first.table
    gains = {names: number for number, names in enumerate(dict.fromkeys(lens.gains for lens in lenses.values()))}
    probes = Probes(
        torch.from_numpy(np.stack([directions[i].vector for i in lenses])),
        torch.stack([_gain(names, snapshot, table.stored.shape[1]) for names in gains]),
        torch.tensor([gains[lens.gains] for lens in lenses.values()]),
        centred=first.centred and not first.of_inputs,
    )
    rows = _rows(table, centred=first.centred and first.of_inputs)
    try:
        return project(rows, probes, **options)
    except ValueError as error:
        raise TensorError(table.site.tensor, str(error)) from error


def _rows(table: Matrix, *, centred: bool) -> RowMatrix:
    def blocks() -> Iterator[Tensor]:
        for stored in table.blocks(BLOCK_BYTES):
            block = stored.float()
            yield block - block.mean(1, keepdim=True) if centred else block

    return RowMatrix(table.stored.shape, blocks)


def _gain(names: tuple[str, ...], snapshot: Snapshot, d: int) -> Float[Tensor, " d"]:
    """The product of the gains of the tensors `names`; ones if there are none."""
    product = torch.ones(d)
    for name in names:
        gain = snapshot.matrices[name].read().flatten()
        if gain.shape != product.shape or not torch.isfinite(gain).all():
            raise TensorError(name, f"is no gain of {d} finite numbers")
        product = product * gain
    return product


def _readout(projection: Projection, row: int, vocabulary: Vocabulary) -> TokenReadout:
    def named(ids: Tensor, scores: Tensor) -> tuple[tuple[str, float], ...]:
        return tuple((vocabulary.text(i), score) for i, score in zip(ids.tolist(), scores.tolist(), strict=True))

    return TokenReadout(
        named(projection.top_ids[row], projection.top[row]),
        named(projection.bottom_ids[row], projection.bottom[row]),
        float(projection.p_values[row]),
    )
