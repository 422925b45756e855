"""Triage: what people say about a finding, and what happened to it; it belongs to the fingerprint."""

from __future__ import annotations

from registry_auditor.store.access import Author
from registry_auditor.store.opinions import FindingEvent, Opinion, Triage
from registry_auditor.store.part import Part


class Triages(Part):
    """What people say about findings. It survives new audits, revisions and analyzer versions."""

    def set(self, finding_id: str, triage: Triage, *, by: Author) -> Opinion:
        """Afterwards this is what holds for the finding, and for the same one in other revisions of its model.

        Raises NotFound; UsageError if a justification or comment is missing or out of place, or the expiry is past.
        """
        raise NotImplementedError

    def events(self, finding_id: str) -> list[FindingEvent]:
        """The life of a finding, oldest first. Raises NotFound."""
        raise NotImplementedError
