"""Triage: what people say about a finding; it belongs to the fingerprint."""

from __future__ import annotations

from sqlalchemy.orm import Session

from registry_auditor.domain import Author, FindingEvent, Justification, Opinion, Triage, TriageState
from registry_auditor.errors import UsageError
from registry_auditor.store import read
from registry_auditor.store.engine import now
from registry_auditor.store.ids import uuid7
from registry_auditor.store.part import Part
from registry_auditor.store.people import events
from registry_auditor.store.people.standing import opinion
from registry_auditor.store.people.tables import TriageRow
from registry_auditor.store.people.writes import repeated, require_ahead, written


class Triages(Part):
    """What people say about findings. It survives new audits, revisions and analyzer versions."""

    def set(self, finding_id: str, triage: Triage, *, by: Author) -> Opinion:
        """Afterwards this is what holds for the finding, and for the same one in other revisions of its model.

        Raises NotFound; UsageError if a justification or comment is missing or out of place, or the expiry is past.
        """
        return self._write(_set, finding_id, triage, by=by)

    def events(self, finding_id: str) -> list[FindingEvent]:
        """The life of a finding, oldest first. Raises NotFound."""
        return self._read(events.of_finding, finding_id)


def check(triage: Triage) -> None:
    """Raise UsageError, with the remedy, if a triage says too little or too much for its state."""
    state = triage.state
    if state is TriageState.NOT_AFFECTED and triage.justification is None:
        raise UsageError(f"{state} needs a justification: one of {', '.join(Justification)}")
    if state is not TriageState.NOT_AFFECTED and triage.justification is not None:
        raise UsageError(f"{state} takes no justification: say why in the comment")
    if state is TriageState.FALSE_POSITIVE and not (triage.comment or "").strip():
        raise UsageError(f"{state} needs a comment that says why")
    if state is TriageState.NOT_SET and triage.expires_at is not None:
        raise UsageError(f"{state} takes no expiry: it is how a finding stands when nobody has said anything")


def _set(session: Session, finding_id: str, triage: Triage, *, by: Author) -> Opinion:
    if before := repeated(session, by, "findings.triage"):
        return opinion(session.get_one(TriageRow, before))
    check(triage)
    found = read.finding(session, finding_id)
    time = now(session)
    if triage.expires_at is not None:
        require_ahead(triage.expires_at, time)
    said = {
        "state": triage.state,
        "justification": triage.justification,
        "owner": triage.owner,
        "comment": triage.comment,
        "expires_at": triage.expires_at,
    }
    row = TriageRow(id=uuid7(), fingerprint=found.fingerprint, at=time, by=by.name, **said)
    session.add(row)
    detail = {"finding": found.id, "fingerprint": found.fingerprint, **said}
    written(session, by, "findings.triage", target=row.id, detail=detail)
    return opinion(row)
