"""Two audits of one model, compared: which findings came, went or stayed, and which directions turned."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from registry_auditor.domain import Audit, ModelRef
from registry_auditor.errors import NotFound
from registry_auditor.store import Store, StoredDirection, StoredFinding

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

    Findings are the same if they say the same about the same tensor of the same model. Raises NotFound.
    """
    earlier, later = store.audit(before), store.audit(after)
    old, new = _findings(store, earlier.id), _findings(store, later.id)
    return Comparison(
        before=earlier,
        after=later,
        new=tuple(found for key, found in new.items() if key not in old),
        gone=tuple(found for key, found in old.items() if key not in new),
        unchanged=tuple(found for key, found in new.items() if key in old),
        turned=tuple(_turned(store, earlier.id, later.id)),
    )


def pick(store: Store, model: str, before: str | None, after: str | None) -> tuple[str, str]:
    """The ids of two audits of the model with that id, each given by its id or as a revision, in full or abbreviated.

    By default the newest one, and the newest one of another revision. Raises NotFound.
    """
    entry = store.models.get(model).ref
    newest = [each.audit for each in store.models.revisions(model, limit=REVISIONS).items if each.audit]
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


def _findings(store: Store, audit_id: str) -> dict[str, StoredFinding]:
    """By fingerprint, most severe first."""
    found = [finding for run in store.runs(audit_id) for finding in run.findings]
    found.sort(key=lambda each: -each.finding.severity.weight)
    return {each.fingerprint: each for each in found}


def _turned(store: Store, before: str, after: str) -> list[Turn]:
    old, new = _strongest(store, before), _strongest(store, after)
    read: dict[str, npt.NDArray[np.float32]] = {}
    turns = [Turn(old[key], new[key], _cosine(store, read, old[key], new[key])) for key in old if key in new]
    return sorted((turn for turn in turns if turn.cosine < TURNED), key=lambda turn: turn.cosine)


def _strongest(store: Store, audit_id: str) -> dict[Hashable, StoredDirection]:
    """By basis, tensor and side: vectors of different bases cannot be compared."""
    bases = {bank.sha256: bank.basis for run in store.runs(audit_id) for bank in run.banks}
    found = store.directions(audit_id=audit_id, rank=0, limit=CONSIDERED).items
    # Backwards: of two that share a place, the first, which is the stronger one, stays.
    return {(bases[each.bank], each.site.tensor, each.site.side): each for each in reversed(found)}


def _cosine(
    store: Store, read: dict[str, npt.NDArray[np.float32]], one: StoredDirection, other: StoredDirection
) -> float:
    if (one.bank, one.ordinal) == (other.bank, other.ordinal):
        return 1.0
    for sha256 in {one.bank, other.bank} - read.keys():
        read[sha256] = store.vectors(sha256)
    return min(1.0, abs(float(read[one.bank][one.ordinal] @ read[other.bank][other.ordinal])))
