"""What was asked for and what was found: lists newest first (directions: strongest first), a page at a time.

The number of SQL statements for a page does not depend on how much is on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, Unpack

from sqlalchemy import ColumnElement, Select, literal, select, tuple_
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import SQLCoreOperations

from registry_auditor.domain import Audit, ModelRef, Site
from registry_auditor.errors import NotFound
from registry_auditor.store import filters as only
from registry_auditor.store import rows
from registry_auditor.store.cursors import cursor, place
from registry_auditor.store.filters import AuditFilters, DirectionFilters
from registry_auditor.store.ids import span
from registry_auditor.store.people.standing import with_standings
from registry_auditor.store.records import BankInfo, Page, StoredDirection, StoredFinding, StoredRun
from registry_auditor.store.tables import (
    AuditRow,
    AuditRunRow,
    BankRow,
    DirectionRow,
    FindingRow,
    ModelRow,
    RunBankRow,
    RunRow,
)

BaseModel = aliased(ModelRow, name="base")
T = TypeVar("T")


def audit(session: Session, id_or_prefix: str) -> Audit:
    """The audit whose id begins so. Raises NotFound if there is none, or more than one."""
    found = session.execute(audits_with_models().where(AuditRow.id.between(*span(id_or_prefix))).limit(2)).all()
    return rows.audit(*single(found, "audit", id_or_prefix))


def audits(session: Session, *, limit: int, after: str | None, **filters: Unpack[AuditFilters]) -> Page[Audit]:
    """Audits, newest first."""
    conditions = only.of_audits(session, filters)
    if after is not None:
        conditions.append(AuditRow.id < place(after, "audits", str)[0])
    statement = audits_with_models().where(*conditions).order_by(AuditRow.id.desc()).limit(limit + 1)
    found = [rows.audit(*row) for row in session.execute(statement)]
    return page(found, limit, lambda item: cursor("audits", item.id))


def runs(session: Session, audit_id: str) -> list[StoredRun]:
    """The latest run of every step of an audit, in the order of its plan."""
    of = audit(session, audit_id)
    shown = session.scalars(
        select(RunRow)
        .join(AuditRunRow, AuditRunRow.run_id == RunRow.id)
        .where(AuditRunRow.audit_id == of.id)
        .order_by(AuditRunRow.position)
    ).all()
    ids = [row.id for row in shown]
    findings = _findings_of_runs(session, ids, of)
    banks: dict[str, list[BankRow]] = defaultdict(list)
    of_run = select(RunBankRow.run_id, BankRow).join(BankRow, BankRow.sha256 == RunBankRow.bank_sha256)
    for run_id, bank in session.execute(of_run.where(RunBankRow.run_id.in_(ids)).order_by(RunBankRow.position)):
        banks[run_id].append(bank)
    return [_stored_run(row, _bank_infos(row, banks[row.id]), findings[row.id]) for row in shown]


def finding(session: Session, id_or_prefix: str) -> StoredFinding:
    """The finding whose id begins so, shown by an audit or not. Raises NotFound if none or several do."""
    statement = findings_with_models(RunRow.audit_id).where(FindingRow.id.between(*span(id_or_prefix))).limit(2)
    row, audit_id, model = single(session.execute(statement).all(), "finding", id_or_prefix)
    return with_standings(session, [stored_finding(row, audit_id, rows.model_ref(model))])[0]


def directions(
    session: Session, *, limit: int, after: str | None, **filters: Unpack[DirectionFilters]
) -> Page[StoredDirection]:
    """Directions, strongest first."""
    shown = _shown(session, filters.get("audit_id"), filters.get("model_glob"))
    banks = select(RunBankRow.bank_sha256).join(AuditRunRow, AuditRunRow.run_id == RunBankRow.run_id).where(*shown)
    conditions = [DirectionRow.bank_sha256.in_(banks), *only.of_directions(session, filters)]
    keys = (DirectionRow.strength, DirectionRow.bank_sha256, DirectionRow.ordinal)
    if after is not None:
        last = zip(place(after, "directions", float, str, int), keys, strict=True)
        conditions.append(tuple_(*keys) < tuple_(*(literal(value, key.type) for value, key in last)))
    order = (DirectionRow.strength.desc(), DirectionRow.bank_sha256.desc(), DirectionRow.ordinal.desc())
    found = session.scalars(select(DirectionRow).where(*conditions).order_by(*order).limit(limit + 1)).all()
    models = _models_of_banks(session, {row.bank_sha256 for row in found}, shown)
    items = [stored_direction(row, models[row.bank_sha256]) for row in found]
    return page(items, limit, lambda item: cursor("directions", item.strength, item.bank, item.ordinal))


def page(found: list[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """The first `limit` of `found`, which was asked for with one more to know whether it goes on."""
    items = tuple(found[:limit])
    return Page(items, cursor(items[-1]) if len(found) > limit else None)


def audits_with_models() -> Select[AuditRow, ModelRow, ModelRow]:
    """Audits, each with its model and its base."""
    return (
        select(AuditRow, ModelRow, BaseModel)
        .join(ModelRow, ModelRow.id == AuditRow.model_id)
        .outerjoin(BaseModel, BaseModel.id == AuditRow.base_id)
    )


def findings_with_models(audit_id: SQLCoreOperations[str]) -> Select[FindingRow, str, ModelRow]:
    """Findings, each with the id and the model of an audit."""
    return (
        select(FindingRow, AuditRow.id, ModelRow)
        .join(RunRow, RunRow.id == FindingRow.run_id)
        .join(AuditRow, AuditRow.id == audit_id)
        .join(ModelRow, ModelRow.id == AuditRow.model_id)
    )


def _shown(session: Session, audit_id: str | None, model_glob: str | None) -> list[ColumnElement[bool]]:
    known = audit(session, audit_id).id if audit_id else None
    return only.of_shown(session, audit_id=known, model_glob=model_glob)


def _models_of_banks(
    session: Session, banks: Iterable[str], shown: Sequence[ColumnElement[bool]]
) -> dict[str, list[ModelRef]]:
    statement = (
        select(RunBankRow.bank_sha256, ModelRow)
        .join(AuditRunRow, AuditRunRow.run_id == RunBankRow.run_id)
        .join(AuditRow, AuditRow.id == AuditRunRow.audit_id)
        .join(ModelRow, ModelRow.id == AuditRow.model_id)
        .where(RunBankRow.bank_sha256.in_(list(banks)), *shown)
        .distinct()
        .order_by(ModelRow.id)
    )
    models: dict[str, list[ModelRef]] = defaultdict(list)
    for sha256, model in session.execute(statement):
        models[sha256].append(rows.model_ref(model))
    return models


def _findings_of_runs(session: Session, ids: list[str], of: Audit) -> dict[str, list[StoredFinding]]:
    theirs = FindingRow.run_id.in_(ids)
    found = session.scalars(select(FindingRow).where(theirs).order_by(FindingRow.run_id, FindingRow.ordinal)).all()
    stored = [stored_finding(row, of.id, of.job.model) for row in found]
    standing = with_standings(session, stored, fingerprints=select(FindingRow.fingerprint).where(theirs))
    findings: dict[str, list[StoredFinding]] = defaultdict(list)
    for row, one in zip(found, standing, strict=True):
        findings[row.run_id].append(one)
    return findings


def _stored_run(row: RunRow, banks: tuple[BankInfo, ...], findings: Sequence[StoredFinding]) -> StoredRun:
    return StoredRun(row.id, rows.run(row, [each.finding for each in findings]), banks, tuple(findings))


def _bank_infos(run: RunRow, banks: Iterable[BankRow]) -> tuple[BankInfo, ...]:
    return tuple(BankInfo(b.sha256, run.analyzer, b.directions, b.basis, b.dimension) for b in banks)


def stored_finding(row: FindingRow, audit_id: str, model: ModelRef) -> StoredFinding:
    """The finding of a row, as an audit of `model` shows it."""
    return StoredFinding(
        id=row.id,
        fingerprint=row.fingerprint,
        audit=audit_id,
        model=model,
        analyzer=row.analyzer,
        finding=rows.finding(row),
        created_at=row.created_at,
    )


def stored_direction(row: DirectionRow, models: Iterable[ModelRef]) -> StoredDirection:
    """The direction of a row, which `models` have."""
    return StoredDirection(
        bank=row.bank_sha256,
        ordinal=row.ordinal,
        site=Site(row.tensor, row.layer, row.role, row.side),
        rank=row.rank,
        strength=row.strength,
        residual=row.residual,
        tokens=rows.tokens(row),
        models=tuple(models),
    )


def single(found: Sequence[T], noun: str, id_or_prefix: str, *, command: str | None = None) -> T:
    """The only one of `found`. Raises NotFound, which names the command that lists them, if there is none or more."""
    if not found:
        raise NotFound(f"there is no {noun} {id_or_prefix}: `registry-auditor {command or noun + 's'} list` shows all")
    if len(found) > 1:
        raise NotFound(f"{id_or_prefix} begins the id of more than one {noun}: give more of it")
    return found[0]
