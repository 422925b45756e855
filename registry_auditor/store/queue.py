"""The queue of record: which audits wait, who works on one and until when, how one ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from registry_auditor.domain import AuditState, BaseSource, Job, ModelRef, SubjectKey, Verdict
from registry_auditor.errors import NotFound
from registry_auditor.store import rows
from registry_auditor.store.tables import AuditRow, ModelRow, SightingRow, Tables

INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert(session: Session, table: type[Tables]) -> Any:
    """An INSERT that can be told what to do on a conflict, which plain SQL cannot."""
    return INSERT[session.get_bind().dialect.name](table)


def submit(session: Session, job: Job) -> str:
    """The id of an unfinished audit of an equal job; afterwards there is exactly one."""
    digest = rows.job_digest(job)
    unfinished = select(AuditRow.id).where(AuditRow.job_digest == digest, AuditRow.state != AuditState.DONE)
    while True:
        if audit_id := session.scalar(unfinished):
            return audit_id
        model_id = register(session, job.model)
        base_id = None if job.base is None else register(session, job.base)
        values = rows.audit_values(job, model_id=model_id, base_id=base_id, now=datetime.now(UTC))
        # Somebody else may have queued it since we looked, and a worker may have finished it since: then look again.
        session.execute(insert(session, AuditRow).values(values).on_conflict_do_nothing())


def register(session: Session, model: ModelRef) -> int:
    """The row id of `model`; afterwards it has one."""
    values = {"registry": model.registry, "name": model.name, "revision": model.revision or ""}
    table = ModelRow.__table__
    known = select(ModelRow.id).where(*(table.c[name] == value for name, value in values.items()))
    if found := session.scalar(known):
        return found
    session.execute(
        insert(session, ModelRow).values({table.c[name]: v for name, v in values.items()}).on_conflict_do_nothing()
    )
    return session.scalars(known).one()


def record_sighting(session: Session, model: ModelRef, *, base: ModelRef | None, source: BaseSource | None) -> None:
    """Afterwards it is known that a registry showed `model`, and who said that `base` is its base.

    The same sighting again only moves its `last_seen_at`.
    """
    now = datetime.now(UTC)
    model_id, base_id = register(session, model), None if base is None else register(session, base)
    session.get(ModelRow, model_id, with_for_update=True)  # of two watchers, one adds the row
    same = select(SightingRow).where(
        SightingRow.model_id == model_id,
        SightingRow.base_id.is_not_distinct_from(base_id),
        SightingRow.source.is_not_distinct_from(source),
    )
    if sighting := session.scalar(same):
        sighting.last_seen_at = now
    else:
        session.add(SightingRow(model_id=model_id, base_id=base_id, source=source, first_seen_at=now, last_seen_at=now))


def claim(session: Session, audit_id: str, worker: str, *, lease_s: float, dead: str | None) -> bool:
    """Whether `worker` now holds the audit: it was queued, its lease had run out, or `dead` held it.

    One conditional UPDATE: of any number of workers that ask at once, one gets True.
    """
    now = datetime.now(UTC)
    free = or_(
        AuditRow.state == AuditState.QUEUED,
        and_(
            AuditRow.state == AuditState.RUNNING,
            or_(AuditRow.lease_expires_at < now, AuditRow.holder == dead if dead else AuditRow.holder.is_(None)),
        ),
    )
    claimed = {
        "state": AuditState.RUNNING,
        "started_at": func.coalesce(AuditRow.started_at, now),
        "holder": worker,
        "lease_expires_at": now + timedelta(seconds=lease_s),
        "claims": AuditRow.claims + 1,
    }
    return _changed(session, update(AuditRow).where(AuditRow.id == audit_id, free).values(claimed))


def renew(session: Session, audit_id: str, worker: str, *, lease_s: float) -> bool:
    """Whether `worker` still holds the audit; if so, for another `lease_s` seconds."""
    expires = datetime.now(UTC) + timedelta(seconds=lease_s)
    return _changed(session, _held(audit_id, worker).values(lease_expires_at=expires))


def release(session: Session, audit_id: str, worker: str) -> bool:
    """Whether `worker` held the audit; if so, it is queued again."""
    return _changed(session, _held(audit_id, worker).values(state=AuditState.QUEUED, lease_expires_at=None))


def set_subject(session: Session, audit_id: str, subject: SubjectKey) -> None:
    """Afterwards the audit, and the models it names, carry the digests of what was read."""
    audit = locked(session, audit_id)
    audit.model_digest, audit.base_digest = subject.model, subject.base
    for model_id, digest in ((audit.model_id, subject.model), (audit.base_id, subject.base)):
        if model_id is not None and digest is not None:
            session.execute(update(ModelRow).where(ModelRow.id == model_id).values(digest=digest))


def finish(session: Session, audit_id: str, verdict: Verdict, reason: str) -> None:
    """Afterwards the audit is done. An audit that was done keeps its verdict."""
    audit = locked(session, audit_id)
    if audit.state is not AuditState.DONE:
        audit.state, audit.verdict, audit.reason = AuditState.DONE, verdict, reason
        audit.finished_at, audit.lease_expires_at = datetime.now(UTC), None


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


def _changed(session: Session, statement: Any) -> bool:
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount == 1
