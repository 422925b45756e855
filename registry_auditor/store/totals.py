"""Numbers for whoever watches the watchers: what waits, what runs, what was done."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, func, select, union
from sqlalchemy.orm import Session

from registry_auditor.domain import AuditState, Queue, Severity, Verdict
from registry_auditor.store import newest
from registry_auditor.store.engine import now
from registry_auditor.store.people.standing import active, dismissed, suppression
from registry_auditor.store.people.tables import SuppressionRow
from registry_auditor.store.records import Backlog, RunTotal
from registry_auditor.store.tables import (
    LATEST,
    UNFINISHED,
    AuditRow,
    AuditRunRow,
    AuditTallyRow,
    FindingRow,
    RunRow,
)


def backlog(session: Session) -> list[Backlog]:
    """How much there is to do, for every queue."""
    due = AuditRow.due_at <= now(session)
    held = func.count().filter(AuditRow.state == AuditState.RUNNING, ~due)
    counted = select(AuditRow.queue, func.count() - held, held, func.min(AuditRow.due_at).filter(due))
    rows = session.execute(counted.where(UNFINISHED).group_by(AuditRow.queue))
    found = {row[0]: Backlog(*row) for row in rows}
    return [found.get(queue, Backlog(queue, 0, 0, None)) for queue in Queue]


def run_totals(session: Session) -> list[RunTotal]:
    """How often each version of each analyzer ended how, and how long that took together."""
    by = (RunRow.analyzer, RunRow.version, RunRow.status)
    grouped = select(*by, func.count(), func.sum(RunRow.seconds)).group_by(*by).order_by(*by)
    return [RunTotal(*row) for row in session.execute(grouped)]


def verdicts(session: Session) -> dict[Verdict, int]:
    """How many models have which verdict in their newest finished audit."""
    counted = select(AuditRow.verdict, func.count()).where(LATEST).group_by(AuditRow.verdict)
    found = {verdict: count for verdict, count in session.execute(counted)}
    return {verdict: found.get(verdict, 0) for verdict in Verdict}


def severities(session: Session) -> dict[Severity, int]:
    """How many findings that count the newest finished audits of all models show together.

    All of them, from their tallies, less those that people have set aside, which are few.
    """
    latest = AuditTallyRow.audit_id.in_(select(AuditRow.id).where(LATEST))
    tallied = select(AuditTallyRow.severity, func.sum(AuditTallyRow.findings)).where(latest)
    found = dict(session.execute(tallied.group_by(AuditTallyRow.severity)).all())
    aside = _set_aside(session).subquery()
    counted = select(aside.c.severity, func.count()).group_by(aside.c.severity)
    less: dict[Severity, int] = {severity: count for severity, count in session.execute(counted)}
    return {severity: found.get(severity, 0) - less.get(severity, 0) for severity in Severity}


def _set_aside(session: Session) -> CompoundSelect[Any]:
    """Those that are dismissed or suppressed, of the findings that the newest finished audits show."""
    of_these = newest.findings(AuditRunRow.audit_id, FindingRow.id, FindingRow.severity)
    rules = [suppression(row) for row in session.scalars(select(SuppressionRow).where(*active(session)))]
    single = [rule.fingerprint for rule in rules if rule.fingerprint and not (rule.code or rule.model)]
    theirs: list[ColumnElement[bool]] = [FindingRow.fingerprint.in_(dismissed(session))]
    theirs.append(FindingRow.fingerprint.in_(single))
    # A select for each rule: with all at once, every pattern would be compared with every finding.
    theirs += [newest.covered(session, rule) for rule in rules if rule.code or rule.model]
    return union(*(of_these.where(condition) for condition in theirs))
