"""What a list can be asked for, as conditions on its rows."""

from __future__ import annotations

from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import SQLCoreOperations

from registry_auditor.domain import AuditState, Severity, Verdict
from registry_auditor.store.tables import AuditRow, AuditRunRow, DirectionRow, FindingRow, ModelRow, SightingRow

Conditions = list[ColumnElement[bool]]


class AuditFilters(TypedDict, total=False):
    """Which audits; what is absent or None does not matter."""

    model_glob: str | None
    """`hf:org/*`, with or without `@revision`; `*` is any text, `?` any character."""
    state: AuditState | None
    verdict: Verdict | None


class FindingFilters(TypedDict, total=False):
    """Which findings; what is absent or None does not matter."""

    audit_id: str | None
    model_glob: str | None
    severity: Severity | None
    """At least this one."""
    code: str | None
    """A glob: `svd-diff/*`."""
    analyzer: str | None


class DirectionFilters(TypedDict, total=False):
    """Which directions; what is absent or None does not matter."""

    audit_id: str | None
    model_glob: str | None
    tensor: str | None
    """A glob: `*.down_proj.weight`."""
    role: str | None
    """A glob: `mlp.*`."""
    layer: int | None
    rank: int | None
    """0: the strongest of its matrix."""


class SightingFilters(TypedDict, total=False):
    """Which sightings; what is absent or None does not matter."""

    model_glob: str | None
    skipped: bool | None
    registry: str | None
    """The watched registry that showed it."""


def of_audits(session: Session, filters: AuditFilters) -> Conditions:
    """On `audits`."""
    conditions: Conditions = []
    if glob := filters.get("model_glob"):
        conditions.append(AuditRow.model_id.in_(_models(session, glob)))
    if state := filters.get("state"):
        conditions.append(AuditRow.state == state)
    if verdict := filters.get("verdict"):
        conditions.append(AuditRow.verdict == verdict)
    return conditions


def of_findings(session: Session, filters: FindingFilters) -> Conditions:
    """On `findings`; their audit and model are a matter of `of_shown`."""
    conditions: Conditions = []
    if severity := filters.get("severity"):
        conditions.append(FindingRow.severity.in_([s for s in Severity if s.at_least(severity)]))
    if code := filters.get("code"):
        conditions.append(_like(session, FindingRow.code, code))
    if analyzer := filters.get("analyzer"):
        conditions.append(FindingRow.analyzer == analyzer)
    return conditions


def of_directions(session: Session, filters: DirectionFilters) -> Conditions:
    """On `directions`; their audit and model are a matter of `of_shown`."""
    conditions: Conditions = []
    if tensor := filters.get("tensor"):
        conditions.append(_like(session, DirectionRow.tensor, tensor))
    if role := filters.get("role"):
        conditions.append(_like(session, DirectionRow.role, role))
    if (layer := filters.get("layer")) is not None:
        conditions.append(DirectionRow.layer == layer)
    if (rank := filters.get("rank")) is not None:
        conditions.append(DirectionRow.rank == rank)
    return conditions


def of_sightings(session: Session, filters: SightingFilters) -> Conditions:
    """On `sightings`."""
    conditions: Conditions = []
    if glob := filters.get("model_glob"):
        conditions.append(SightingRow.model_id.in_(_models(session, glob)))
    if (skipped := filters.get("skipped")) is not None:
        conditions.append(SightingRow.skipped.is_not(None) if skipped else SightingRow.skipped.is_(None))
    if registry := filters.get("registry"):
        conditions.append(SightingRow.shown_by == registry)
    return conditions


def of_shown(session: Session, *, audit_id: str | None, model_glob: str | None) -> Conditions:
    """On `audit_runs`: the runs that one audit shows, or the audits of some models."""
    conditions: Conditions = []
    if audit_id:
        conditions.append(AuditRunRow.audit_id == audit_id)
    if model_glob:
        audits = select(AuditRow.id).where(AuditRow.model_id.in_(_models(session, model_glob)))
        conditions.append(AuditRunRow.audit_id.in_(audits))
    return conditions


def models_like(session: Session, glob: str) -> ColumnElement[bool]:
    """On `models`: those that fit, with or without `@revision`."""
    name = ModelRow.within + ":" + ModelRow.name
    return or_(_like(session, name, glob), _like(session, name + "@" + ModelRow.revision, glob))


def _models(session: Session, glob: str) -> Select[int]:
    return select(ModelRow.id).where(models_like(session, glob))


def _like(session: Session, text: SQLCoreOperations[str], glob: str) -> ColumnElement[bool]:
    """Whether `text` fits `glob`, upper and lower case apart."""
    if not set(glob) & set("*?"):
        return text == glob
    if session.get_bind().dialect.name == "sqlite":  # whose LIKE takes a for A
        return text.bool_op("GLOB")(glob.replace("[", "[[]"))
    escapes: dict[str, Any] = {"\\": "\\\\", "%": "\\%", "_": "\\_", "*": "%", "?": "_"}
    return text.like(glob.translate(str.maketrans(escapes)), escape="\\")
