"""The queue of record: which audits wait, who works on one and until when, how one ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from registry_auditor.domain import Audit, AuditState, Job, Queue, SubjectKey, Verdict
from registry_auditor.errors import NotFound
from registry_auditor.store import read, rows
from registry_auditor.store.engine import alone, changed, insert, now, read_in_order
from registry_auditor.store.tables import (
    LATEST,
    UNFINISHED,
    UNSENT,
    AuditRow,
    AuditRunRow,
    AuditTallyRow,
    ModelRow,
    TallyRow,
)
from registry_auditor.store.traffic import notices
from registry_auditor.store.traffic.sightings import register


def submit(session: Session, job: Job) -> Audit:
    """An unfinished audit of an equal job; afterwards there is exactly one."""
    unfinished = select(AuditRow.id).where(AuditRow.job_digest == rows.job_digest(job), UNFINISHED)
    audit_id, _ = _found_or_queued(session, job, unfinished)
    return read.audit(session, audit_id)


def ensure(session: Session, job: Job) -> tuple[Audit, bool]:
    """The newest audit of an equal job in whatever state, else a queued one; and whether it was queued now."""
    newest = (
        select(AuditRow.id).where(AuditRow.job_digest == rows.job_digest(job)).order_by(AuditRow.id.desc()).limit(1)
    )
    audit_id, queued = session.scalar(newest), False
    if audit_id is None:
        # One at a time for each model: else another's audit could come and be done between our look and our insert.
        session.get(ModelRow, register(session, job.model), with_for_update={"key_share": True})
        audit_id, queued = _found_or_queued(session, job, newest)
    return read.audit(session, audit_id), queued


def _found_or_queued(session: Session, job: Job, sought: Select[str]) -> tuple[str, bool]:
    while True:
        if audit_id := session.scalar(sought):
            return audit_id, False
        model_id = register(session, job.model)
        base_id = None if job.base is None else register(session, job.base)
        values = rows.audit_values(job, model_id=model_id, base_id=base_id, now=now(session))
        # Somebody else may have queued it since we looked, and a worker may have finished it since: then look again.
        statement = insert(session, AuditRow).values(values).on_conflict_do_nothing().returning(AuditRow.id)
        if audit_id := session.scalar(statement):
            return audit_id, True


def waiting(session: Session, queue: Queue, *, limit: int, unsent: bool) -> list[str]:
    """The ids of audits that a worker may take now, oldest due first; with `unsent`, those not with the broker yet."""
    statement = select(AuditRow.id).where(
        AuditRow.queue == queue, UNSENT if unsent else UNFINISHED, AuditRow.due_at <= now(session)
    )
    read_in_order(session)
    return list(session.scalars(statement.order_by(AuditRow.due_at, AuditRow.id).limit(limit)))


def sent(session: Session, ids: Sequence[str]) -> None:
    """Afterwards those of `ids` that still wait count as handed to the broker."""
    time = now(session)
    still = update(AuditRow).where(AuditRow.id.in_(ids), UNFINISHED, AuditRow.due_at <= time)
    changed(session, still.values(sent_at=time))


def claim(session: Session, audit_id: str, worker: str, *, lease_s: float, dead: str | None) -> bool:
    """Whether `worker` now holds the audit: it was due, its lease had run out, or `dead` held it.

    One conditional UPDATE: of any number of workers that ask at once, one gets True.
    """
    time = now(session)
    free = and_(UNFINISHED, AuditRow.due_at <= time)
    if dead is not None:
        free = or_(free, and_(AuditRow.state == AuditState.RUNNING, AuditRow.holder == dead))
    claimed = _leased(time, lease_s) | {
        "state": AuditState.RUNNING,
        "started_at": func.coalesce(AuditRow.started_at, time),
        "holder": worker,
        "claims": AuditRow.claims + 1,
    }
    return changed(session, update(AuditRow).where(AuditRow.id == audit_id, free).values(claimed)) == 1


def renew(session: Session, audit_id: str, worker: str, *, lease_s: float) -> bool:
    """Whether `worker` still holds the audit; if so, for another `lease_s` seconds."""
    return changed(session, _held(audit_id, worker).values(_leased(now(session), lease_s))) == 1


def release(session: Session, audit_id: str, worker: str) -> bool:
    """Whether `worker` held the audit; if so, it waits at its old place, and the claim does not count."""
    freed = _freed(AuditRow.queued_at) | {"claims": AuditRow.claims - 1}
    return changed(session, _held(audit_id, worker).values(freed)) == 1


def postpone(session: Session, audit_id: str, worker: str, *, delay_s: float, reason: str) -> bool:
    """Whether `worker` held the audit; if so, it is due in `delay_s` seconds and shows `reason`.

    The claim does not count: nobody died.
    """
    due_at = now(session) + timedelta(seconds=delay_s)
    freed = _freed(due_at) | {"reason": reason, "claims": AuditRow.claims - 1}
    return changed(session, _held(audit_id, worker).values(freed)) == 1


def set_subject(session: Session, audit_id: str, subject: SubjectKey) -> None:
    """Afterwards the audit, and the models it names, carry the digests of what was read."""
    audit = locked(session, audit_id)
    audit.model_digest, audit.base_digest = subject.model, subject.base
    for model_id, digest in ((audit.model_id, subject.model), (audit.base_id, subject.base)):
        if model_id is not None and digest is not None:
            session.execute(update(ModelRow).where(ModelRow.id == model_id).values(digest=digest))


def finish(session: Session, audit_id: str, verdict: Verdict, reason: str, *, notify: Sequence[str]) -> Audit:
    """Afterwards the audit is done, and each target in `notify` is to hear of it.

    An audit that was done keeps its verdict, and nobody hears of it again.
    """
    audit = locked(session, audit_id)
    if audit.state is not AuditState.DONE:
        time = now(session)
        audit.state, audit.verdict, audit.reason = AuditState.DONE, verdict, reason
        audit.finished_at, audit.lease_expires_at, audit.sent_at = time, None, None
        count(session, audit)
        notices.add(session, audit_id, notify, time)
        session.flush()
    return read.audit(session, audit_id)


def count(session: Session, audit: AuditRow) -> None:
    """Afterwards `audit`, which is done now, counts among all of them: by what it shows, and as the newest if it is."""
    session.flush()
    shown = select(AuditRunRow.audit_id, TallyRow.severity, func.sum(TallyRow.findings))
    shown = shown.join(TallyRow, TallyRow.run_id == AuditRunRow.run_id).where(AuditRunRow.audit_id == audit.id)
    grouped = shown.group_by(AuditRunRow.audit_id, TallyRow.severity)
    session.execute(insert(session, AuditTallyRow).from_select(["audit_id", "severity", "findings"], grouped))
    _mark_latest(session, audit)


def _mark_latest(session: Session, audit: AuditRow) -> None:
    model = session.get_one(ModelRow, audit.model_id)
    alone(session, "latest", model.within, model.name)
    revisions = select(ModelRow.id).where(ModelRow.within == model.within, ModelRow.name == model.name)
    of_entry = (AuditRow.model_id.in_(revisions), AuditRow.state == AuditState.DONE)
    newest = session.scalar(select(func.max(AuditRow.id)).where(*of_entry))
    marked = update(AuditRow).where(or_(AuditRow.id == newest, and_(*of_entry, LATEST)))
    changed(session, marked.values(latest=AuditRow.id == newest))


def locked(session: Session, audit_id: str) -> AuditRow:
    """The row of an audit, which nobody else changes before this transaction ends."""
    audit = session.get(AuditRow, audit_id, with_for_update=True)
    if audit is None:
        raise NotFound(f"there is no audit {audit_id}: `registry-auditor audits list` shows all")
    return audit


def _held(audit_id: str, worker: str) -> Any:
    return update(AuditRow).where(
        AuditRow.id == audit_id, AuditRow.state == AuditState.RUNNING, AuditRow.holder == worker
    )


def _leased(time: datetime, lease_s: float) -> rows.Values:
    expires = time + timedelta(seconds=lease_s)
    return {"lease_expires_at": expires, "due_at": expires, "sent_at": None}


def _freed(due_at: Any) -> rows.Values:
    return {"state": AuditState.QUEUED, "lease_expires_at": None, "due_at": due_at, "sent_at": None}
