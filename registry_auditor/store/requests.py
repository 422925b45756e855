"""Audits that people ask for by name, and take back."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from registry_auditor.domain import Audit, AuditState, Author, Job, Verdict
from registry_auditor.errors import Conflict
from registry_auditor.store import queue, read, rows
from registry_auditor.store.engine import now
from registry_auditor.store.part import Part
from registry_auditor.store.people.writes import repeated, written
from registry_auditor.store.tables import UNFINISHED, AuditRow
from registry_auditor.store.traffic.sightings import register


class Requests(Part):
    """Audits on demand."""

    def submit(self, job: Job, *, by: Author) -> Audit:
        """The unfinished audit of an equal job, else a queued one; the job may lack revisions, base and plan."""
        return self._write(_submit, job, by=by)

    def settle(self, audit_id: str, worker: str, job: Job) -> Audit:
        """Afterwards the audit that `worker` holds is of `job`: its revisions, base and plan were found out.

        Raises Conflict if an unfinished audit of an equal job is there already, or if `worker` does not hold this one.
        """
        return self._write(_settle, audit_id, worker, job)

    def cancel(self, audit_id: str, *, by: Author) -> Audit:
        """Afterwards the audit is done, `incomplete`, and says who cancelled it; what its runs have found stays.

        A worker that is at it stops before its next step. Raises NotFound, and Conflict if it was done.
        """
        return self._write(_cancel, audit_id, by=by)


def _submit(session: Session, job: Job, *, by: Author) -> Audit:
    if before := repeated(session, by, "audits.submit"):
        return read.audit(session, before)
    audit = queue.submit(session, job)
    asked = {"model": str(job.model), "base": job.base and str(job.base), "fail_on": job.fail_on, "analyzers": job.wish}
    written(session, by, "audits.submit", target=audit.id, detail=asked)
    return audit


def _settle(session: Session, audit_id: str, worker: str, job: Job) -> Audit:
    row = queue.locked(session, audit_id)
    if row.state is not AuditState.RUNNING or row.holder != worker:
        raise Conflict(f"audit {audit_id} was cancelled, or is in other hands")
    model_id = register(session, job.model)
    base_id = None if job.base is None else register(session, job.base)
    values = rows.audit_values(job, model_id=model_id, base_id=base_id, now=now(session))
    same = select(AuditRow.id).where(AuditRow.job_digest == values["job_digest"], UNFINISHED, AuditRow.id != audit_id)
    if (other := session.scalar(same)) is None:
        try:
            with session.begin_nested():
                for name in ("model_id", "base_id", "base_source", "plan", "queue", "job_digest"):
                    setattr(row, name, values[name])
        except IntegrityError:  # somebody else came first
            other = session.scalar(same)
        else:
            return read.audit(session, audit_id)
    raise Conflict(f"waits for audit {other}, which is of the same model, base and plan")


def _cancel(session: Session, audit_id: str, *, by: Author) -> Audit:
    if before := repeated(session, by, "audits.cancel"):
        return read.audit(session, before)
    row = queue.locked(session, read.audit(session, audit_id).id)
    if row.state is AuditState.DONE:
        raise Conflict(f"audit {row.id} is done already: {row.verdict}")
    row.state, row.verdict, row.reason = AuditState.DONE, Verdict.INCOMPLETE, f"cancelled by {by.name}"
    row.lease_expires_at = row.sent_at = None
    row.finished_at = written(session, by, "audits.cancel", target=row.id)
    queue.count(session, row)
    return read.audit(session, row.id)
