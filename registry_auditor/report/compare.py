"""Two audits of one model, compared: which findings came, went or stayed, and which directions turned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from registry_auditor.domain import Audit, AuditState, ModelRef
from registry_auditor.errors import NotFound
from registry_auditor.store import Store, StoredDirection, StoredFinding, StoredRun
from registry_auditor.store.catalogue import entry_of
from registry_auditor.store.rows import fingerprint

Vector = npt.NDArray[np.float32]
Place = tuple[str, int]
"""A bank, and the row in it."""

TURNED = 0.9
"""|cos| below which a direction counts as another one: 26 degrees."""
REVISIONS = 200
"""Of a model, the last to be seen, are looked through for a revision."""
CONSIDERED = 2000
"""Matrices of each audit: those with the strongest directions."""


@dataclass(frozen=True)
class Turn:
    """The strongest direction of one matrix, before and after."""

    before: StoredDirection
    after: StoredDirection
    cosine: float
    """|cos| of the two, 0..1."""


@dataclass(frozen=True)
class Comparison:
    """What a later audit shows that an earlier one did not, and the other way round."""

    before: Audit
    after: Audit
    new: tuple[StoredFinding, ...]
    gone: tuple[StoredFinding, ...]
    unchanged: tuple[StoredFinding, ...]
    """As the later audit shows them."""
    turned: tuple[Turn, ...]
    """The furthest turned first; only matrices of which both audits have a direction in the same basis."""


def compare(store: Store, before: str, after: str) -> Comparison:
    """The audits of these ids, which may be of different revisions, or of different models.

    Findings are the same if they say the same about the same tensor, whatever the models are called. Raises NotFound.
    """
    earlier, later = (store.audit(each) for each in (before, after))
    runs = {audit.id: store.runs(audit.id) for audit in (earlier, later)}
    old, new = (_findings(runs[audit.id], later.job.model) for audit in (earlier, later))
    strongest = [_strongest(store, audit.id, runs[audit.id]) for audit in (earlier, later)]
    return Comparison(
        before=earlier,
        after=later,
        new=tuple(found for key, found in new.items() if key not in old),
        gone=tuple(found for key, found in old.items() if key not in new),
        unchanged=tuple(found for key, found in new.items() if key in old),
        turned=tuple(_turned(store, *strongest)),
    )


def pick(store: Store, model: str, before: str | None, after: str | None) -> tuple[str, str]:
    """The ids of two audits of the model with that id, each given by its id or as a revision, in full or abbreviated.

    By default the newest finished one, and the newest finished one of another revision. Raises NotFound.
    """
    entry = entry_of(model)
    known = [each.audit for each in store.models.revisions(model, limit=REVISIONS).items if each.audit]
    newest = [audit for audit in known if audit.state is AuditState.DONE]
    newest.sort(key=lambda audit: audit.queued_at, reverse=True)
    later = newest[0] if after is None and newest else _named(store, entry, newest, after)
    others = [audit for audit in newest if audit.job.model != later.job.model]
    earlier = others[0] if before is None and others else _named(store, entry, newest, before)
    return earlier.id, later.id


def _named(store: Store, entry: ModelRef, newest: Sequence[Audit], text: str | None) -> Audit:
    if text is None:
        raise NotFound(f"{entry} has no two audited revisions to compare: name two of its audits")
    for audit in newest:
        revision = audit.job.model.revision or ""
        if text and text in (revision[: len(text)], revision.rpartition(":")[2][: len(text)]):
            return audit
    audit = store.audit(text)
    if (audit.job.model.registry, audit.job.model.name) != (entry.registry, entry.name):
        raise NotFound(f"audit {audit.id} is none of {entry}")
    return audit


def _findings(runs: Iterable[StoredRun], model: ModelRef) -> dict[str, StoredFinding]:
    """By the fingerprint that they would have under the name of `model`, most severe first."""
    found = [finding for run in runs for finding in run.findings]
    found.sort(key=lambda each: -each.finding.severity.weight)
    return {fingerprint(each.finding, model): each for each in found}


Strongest = Mapping[Hashable, StoredDirection]
"""The strongest direction of each matrix, by basis, tensor and side: those of different bases cannot be compared."""


def _strongest(store: Store, audit_id: str, runs: Iterable[StoredRun]) -> Strongest:
    bases = {bank.sha256: bank.basis for run in runs for bank in run.banks}
    found = store.directions.list(audit_id=audit_id, rank=0, limit=CONSIDERED).items
    # Backwards: of two that share a place, the first, which is the stronger one, stays.
    return {(bases[each.bank], each.site.tensor, each.site.side): each for each in reversed(found)}


def _turned(store: Store, old: Strongest, new: Strongest) -> list[Turn]:
    # Equal places of equal banks are equal vectors: neither is read.
    pairs = [(old[key], new[key]) for key in old if key in new and _place(old[key]) != _place(new[key])]
    vectors = _vectors(store, [each for pair in pairs for each in pair])
    turns = [Turn(one, other, _cosine(vectors[_place(one)], vectors[_place(other)])) for one, other in pairs]
    return sorted((turn for turn in turns if turn.cosine < TURNED), key=lambda turn: turn.cosine)


def _vectors(store: Store, directions: Iterable[StoredDirection]) -> dict[Place, Vector]:
    """Only these rows of their banks, which may be large."""
    ordinals: dict[str, list[int]] = defaultdict(list)
    for each in directions:
        ordinals[each.bank].append(each.ordinal)
    banks = store.banks
    return {
        (sha256, ordinal): row
        for sha256, wanted in ordinals.items()
        for ordinal, row in zip(wanted, banks.rows(sha256, wanted), strict=True)
    }


def _place(direction: StoredDirection) -> Place:
    return direction.bank, direction.ordinal


def _cosine(one: Vector, other: Vector) -> float:
    return min(1.0, abs(float(one @ other)))
