"""The life of a finding, told from facts: audits, triages and suppressions. Nothing of it is kept twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, zip_longest

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from registry_auditor.domain import AuditState, EventKind, FindingEvent, ModelRef, Opinion, RunStatus, Suppression
from registry_auditor.store import read, rows
from registry_auditor.store.engine import now
from registry_auditor.store.people.standing import covers, opinion, suppression
from registry_auditor.store.people.tables import SuppressionRow, TriageRow
from registry_auditor.store.records import StoredFinding
from registry_auditor.store.tables import AuditRow, AuditRunRow, FindingRow, ModelRow, RunRow


@dataclass(frozen=True)
class _Look:
    """What one audit of the model says of the finding."""

    audit: str
    model: ModelRef
    at: datetime
    """When it showed the finding, or ended without."""
    shown_by: frozenset[str]
    """The runs that have the finding; none if it is not there."""
    sure: bool
    """If none have: the audit is done, and each run of the analyzer is `ok`."""


def of_finding(session: Session, finding_id: str) -> list[FindingEvent]:
    """The life of a finding, oldest first.

    An audit that shows again what an earlier one found in the same run adds nothing. Raises NotFound.
    """
    found, time = read.finding(session, finding_id), now(session)
    audits = list(_seen(_looks(session, found)))
    models = {event.model for event in audits if event.model is not None} | {found.model}
    said = select(TriageRow).where(TriageRow.fingerprint == found.fingerprint).order_by(TriageRow.at, TriageRow.id)
    triages = _said([opinion(row) for row in session.scalars(said)], time)
    theirs = or_(SuppressionRow.fingerprint.is_(None), SuppressionRow.fingerprint == found.fingerprint)
    rules = [suppression(row) for row in session.scalars(select(SuppressionRow).where(theirs))]
    fitting = [rule for rule in rules if any(covers(rule, replace(found, model=model)) for model in models)]
    since = min((event.at for event in audits), default=found.created_at)
    return sorted([*audits, *triages, *_suppressed(fitting, since, time)], key=lambda event: event.at)


def _looks(session: Session, found: StoredFinding) -> list[_Look]:
    """Every audit of any revision of the model in which the analyzer ran, oldest first."""
    shown = (
        select(FindingRow.run_id, func.min(FindingRow.created_at).label("at"))
        .where(FindingRow.fingerprint == found.fingerprint)
        .group_by(FindingRow.run_id)
        .subquery()
    )
    statement = (
        select(AuditRow, ModelRow, RunRow.id, RunRow.status, shown.c.at)
        .join(ModelRow, ModelRow.id == AuditRow.model_id)
        .join(AuditRunRow, AuditRunRow.audit_id == AuditRow.id)
        .join(RunRow, RunRow.id == AuditRunRow.run_id)
        .outerjoin(shown, shown.c.run_id == RunRow.id)
        .where(ModelRow.within == found.model.registry, ModelRow.name == found.model.name)
        .where(RunRow.analyzer == found.analyzer)
        .order_by(AuditRow.id)
    )
    of_audits = groupby(session.execute(statement), key=lambda row: row[:2])
    looks = [_look(audit, model, [tuple(row[2:]) for row in runs]) for (audit, model), runs in of_audits]
    return sorted(looks, key=lambda look: (look.at, look.audit))


def _look(audit: AuditRow, model: ModelRow, runs: Sequence[tuple[str, RunStatus, datetime | None]]) -> _Look:
    began = audit.started_at or audit.queued_at
    found_at = [at for _, _, at in runs if at is not None]
    return _Look(
        audit=audit.id,
        model=rows.model_ref(model),
        # A run that another audit has paid for is older than the audit that shows it.
        at=max(began, min(found_at)) if found_at else audit.finished_at or began,
        shown_by=frozenset(run for run, _, at in runs if at is not None),
        sure=audit.state is AuditState.DONE and all(status is RunStatus.OK for _, status, _ in runs),
    )


def _seen(looks: Iterable[_Look]) -> Iterator[FindingEvent]:
    """When the finding was there, and when it was gone."""
    known: frozenset[str] = frozenset()
    for look in looks:
        if look.shown_by - known:
            yield FindingEvent(look.at, EventKind.FOUND, audit=look.audit, model=look.model)
        elif known and look.sure and not look.shown_by:
            yield FindingEvent(look.at, EventKind.GONE, audit=look.audit, model=look.model)
            known = frozenset()
        known |= look.shown_by


def _said(opinions: Sequence[Opinion], now: datetime) -> Iterator[FindingEvent]:
    """What people said, and when it ran out before somebody said something else."""
    for each, later in zip_longest(opinions, opinions[1:]):
        yield FindingEvent(each.at, EventKind.TRIAGED, by=each.by, opinion=each)
        end = each.triage.expires_at
        if end is not None and end <= (now if later is None else later.at):
            yield FindingEvent(end, EventKind.EXPIRED, opinion=each)


def _suppressed(rules: Iterable[Suppression], since: datetime, now: datetime) -> Iterator[FindingEvent]:
    """Which rules covered it, from when it was first found, and how they ended."""
    for rule in rules:
        end = rule.ended_at or rule.expires_at
        if end <= since:
            continue
        yield FindingEvent(max(since, rule.created_at), EventKind.SUPPRESSED, by=rule.by, suppression=rule)
        if rule.ended_at is not None:
            yield FindingEvent(end, EventKind.UNSUPPRESSED, by=rule.ended_by, suppression=rule)
        elif end <= now:
            yield FindingEvent(end, EventKind.EXPIRED, suppression=rule)
