"""An earlier audit of the same model, and what has become of its findings since."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from registry_auditor.domain import ModelRef
from registry_auditor.errors import UsageError
from registry_auditor.report.document import Report, gather
from registry_auditor.store import Store, StoredFinding
from registry_auditor.store.rows import fingerprint


class Since(StrEnum):
    """How a finding stands to an earlier audit, in the words of SARIF."""

    NEW = "new"
    UPDATED = "updated"
    """It says the same of the same tensor, with another severity, score or message."""
    UNCHANGED = "unchanged"
    ABSENT = "absent"


def baseline(store: Store, audit_id: str, document: Report) -> Report:
    """The audit that `document` is to be compared with.

    Raises NotFound if there is none, UsageError for one of another model and for one that is not earlier.
    """
    before = gather(store, audit_id)
    one, other = (_entry(each.audit.job.model) for each in (document, before))
    if one != other:
        raise UsageError(f"the baseline is an audit of {other}, and this is one of {one}: name one of the same model")
    if before.audit.id >= document.audit.id:
        raise UsageError("the baseline is not earlier than the audit: name them the other way round")
    return before


@dataclass(frozen=True)
class Placed:
    """A finding in a report, and how it stands to the audit before."""

    key: str
    """`fingerprint:number`, where the number tells equal fingerprints apart."""
    found: StoredFinding
    since: Since | None
    """None where nothing is compared."""


def placed(document: Report, before: Report | None = None) -> list[Placed]:
    """The findings of a report in its order; then those of `before` that are gone.

    Gone are only those that analyzers which have finished in `document` do not make any more.
    """
    now = _keyed(document)
    if before is None:
        return [Placed(key, each, None) for key, each in now.items()]
    known = _keyed(before)
    finished = {stored.run.step.analyzer for stored in document.runs if stored.run.reason is None}
    gone = {key: each for key, each in known.items() if key not in now and each.analyzer in finished}
    return [
        *(Placed(key, each, _since(each, known.get(key))) for key, each in now.items()),
        *(Placed(key, each, Since.ABSENT) for key, each in gone.items()),
    ]


def _keyed(document: Report) -> dict[str, StoredFinding]:
    # By the name of this model: the fingerprint of the store has another one where a run was made for another entry
    # that has the same weights, and would change with the next revision.
    seen: Counter[str] = Counter()
    found = {}
    for each in document.found:
        known = fingerprint(each.finding, document.audit.job.model)
        seen[known] += 1
        found[f"{known}:{seen[known]}"] = each
    return found


def _since(now: StoredFinding, before: StoredFinding | None) -> Since:
    if before is None:
        return Since.NEW
    one, other = now.finding, before.finding
    same = (one.severity, one.message, one.score) == (other.severity, other.message, other.score)
    return Since.UNCHANGED if same else Since.UPDATED


def _entry(model: ModelRef) -> str:
    return f"{model.registry}:{model.name}"
