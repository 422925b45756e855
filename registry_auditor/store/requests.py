"""Audits that people ask for by name, and take back."""

from __future__ import annotations

from registry_auditor.domain import Audit, Job
from registry_auditor.store.access import Author
from registry_auditor.store.part import Part


class Requests(Part):
    """Audits on demand."""

    def submit(self, job: Job, *, by: Author) -> Audit:
        """The unfinished audit of an equal job, else a queued one; the job may lack revisions, base and plan."""
        raise NotImplementedError

    def settle(self, audit_id: str, worker: str, job: Job) -> Audit:
        """Afterwards the audit that `worker` holds is of `job`: its revisions, base and plan were found out."""
        raise NotImplementedError

    def cancel(self, audit_id: str, *, by: Author) -> Audit:
        """Afterwards the audit is done, `incomplete`, and says who cancelled it. Raises Conflict if it was done."""
        raise NotImplementedError
