"""The newest audits of registry entries and of their revisions, and what they show."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import Session

from registry_auditor.domain import Audit, Severity, Suppression, Verdict
from registry_auditor.store import rows
from registry_auditor.store.filters import fits, models_like, unindexed
from registry_auditor.store.read import audits_with_models
from registry_auditor.store.tables import LATEST, AuditRow, AuditRunRow, FindingRow, ModelRow, TallyRow

Entry = tuple[str, str]
"""Registry and name."""


def of_entries(session: Session, entries: Collection[Entry]) -> dict[Entry, Audit]:
    """How each of `entries` stands: its newest finished audit, else its newest, if it has one."""
    found = session.execute(audits_with_models().where(AuditRow.id.in_(_newest(entries))))
    return {(model.within, model.name): rows.audit(audit, model, base) for audit, model, base in found}


def verdicts(session: Session, entries: Collection[Entry]) -> dict[Entry, Verdict | None]:
    """The verdict of the newest finished audit, for those of `entries` that have one."""
    judged = select(ModelRow.within, ModelRow.name, AuditRow.verdict).join(AuditRow, AuditRow.model_id == ModelRow.id)
    found = session.execute(judged.where(named(entries), LATEST))
    return {(registry, name): verdict for registry, name, verdict in found}


def _newest(entries: Collection[Entry]) -> Select[str]:
    # One that was finished stands until another is: a model that is audited once more is still known.
    id = func.coalesce(func.max(AuditRow.id).filter(LATEST), func.max(AuditRow.id))
    of_entry = select(id).join(ModelRow, ModelRow.id == AuditRow.model_id).where(named(entries))
    return of_entry.group_by(ModelRow.within, ModelRow.name)


def named(entries: Collection[Entry]) -> ColumnElement[bool]:
    """On `models`: those of `entries`, and those of the same name elsewhere; pairs would keep SQLite from an index."""
    registries, names = ({entry[place] for entry in entries} for place in (0, 1))
    return and_(ModelRow.within.in_(registries), ModelRow.name.in_(names))


def of_models(session: Session, ids: Sequence[int]) -> dict[int, Audit]:
    """The newest audit of each revision, by row of `models`."""
    newest = select(func.max(AuditRow.id)).where(AuditRow.model_id.in_(ids)).group_by(AuditRow.model_id)
    found = session.execute(audits_with_models().where(AuditRow.id.in_(newest)))
    return {audit.model_id: rows.audit(audit, model, base) for audit, model, base in found}


def counts(session: Session, audits: Sequence[str]) -> dict[str, dict[Severity, int]]:
    """How many findings of which severity each of `audits` shows."""
    shown = (
        select(AuditRunRow.audit_id, TallyRow.severity, func.sum(TallyRow.findings))
        .join(TallyRow, TallyRow.run_id == AuditRunRow.run_id)
        .where(AuditRunRow.audit_id.in_(audits))
        .group_by(AuditRunRow.audit_id, TallyRow.severity)
    )
    found: dict[str, dict[Severity, int]] = {}
    for audit_id, severity, count in session.execute(shown):
        found.setdefault(audit_id, {})[severity] = count
    return {
        audit_id: {severity: each[severity] for severity in Severity if severity in each}
        for audit_id, each in found.items()
    }


def judged(verdict: Verdict) -> Select[int]:
    """The revisions, by row of `models`, that the newest finished audits are of, if these have this verdict."""
    return select(AuditRow.model_id).where(LATEST, AuditRow.verdict == verdict)


def findings(*columns: Any) -> Select[Any]:
    """These columns of the findings that the newest finished audits show, on `findings` and `audit_runs`."""
    is_latest = select(AuditRow.id).where(AuditRow.id == AuditRunRow.audit_id, LATEST).correlate(AuditRunRow).exists()
    return select(*columns).join(AuditRunRow, AuditRunRow.run_id == FindingRow.run_id).where(is_latest)


def covered(session: Session, rule: Suppression) -> ColumnElement[bool]:
    """On `findings` and `audit_runs`: of what the newest finished audits show, what `rule` covers."""
    conditions: list[ColumnElement[bool]] = []
    if rule.model is not None:
        of_models = select(AuditRow.id).join(ModelRow, ModelRow.id == AuditRow.model_id).where(LATEST)
        conditions.append(AuditRunRow.audit_id.in_(of_models.where(models_like(session, rule.model))))
    if rule.code is not None:
        conditions.append(fits(session, unindexed(session, FindingRow.code), rule.code))
    if rule.fingerprint is not None:
        conditions.append(FindingRow.fingerprint == rule.fingerprint)
    return and_(*conditions)
