"""Models: registry entries with their revisions, and how the newest audit of each ended.

The number of SQL statements for a page does not depend on how much is on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Row, func, literal, select, tuple_
from sqlalchemy.orm import Session

from registry_auditor.domain import Audit, ModelRef, Severity, Verdict
from registry_auditor.errors import NotFound
from registry_auditor.store import filters as only
from registry_auditor.store import newest, rows, totals
from registry_auditor.store.catalogue import Descent, ModelSummary, Revision, entry_of, model_id
from registry_auditor.store.cursors import cursor, misplaced, place
from registry_auditor.store.lineage import lineage
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.read import BaseModel, page
from registry_auditor.store.records import Page
from registry_auditor.store.tables import AuditRow, ModelRow, SightingRow

ENTRY = (ModelRow.within, ModelRow.name)


class Models(Part):
    """Registry entries."""

    def list(
        self,
        *,
        limit: int = PAGE,
        after: str | None = None,
        model_glob: str | None = None,
        verdict: Verdict | None = None,
    ) -> Page[ModelSummary]:
        """Models by name; `verdict`: of the newest finished audit."""
        return self._read(_list, limit=limit, after=after, model_glob=model_glob, verdict=verdict)

    def get(self, model: str) -> ModelSummary:
        """The model of an id. Raises NotFound."""
        return self._read(_get, model)

    def revisions(self, model: str, *, limit: int = PAGE, after: str | None = None) -> Page[Revision]:
        """Revisions of a model, the last to be seen first. Raises NotFound."""
        return self._read(_revisions, model, limit=limit, after=after)

    def lineage(self, model: str | None = None, *, limit: int = 500) -> Sequence[Descent]:
        """Who was made from whom: all models, or the ancestors and descendants of one, at most `limit` edges.

        Of those of one model the nearest come first. Raises NotFound.
        """
        return self._read(lineage, model, limit=limit)

    def verdicts(self) -> dict[Verdict, int]:
        """How many models have which verdict in their newest finished audit."""
        return self._read(totals.verdicts)

    def severities(self) -> Mapping[Severity, int]:
        """How many findings that count the newest finished audits of all models show together."""
        return self._read(totals.severities)


def _list(
    session: Session, *, limit: int, after: str | None, model_glob: str | None, verdict: Verdict | None
) -> Page[ModelSummary]:
    conditions = [only.models_like(session, model_glob)] if model_glob else []
    if verdict:
        conditions.append(ModelRow.id.in_(newest.judged(verdict)))
    if after is not None:
        within, name = place(after, "models", str, str)
        conditions.append(
            tuple_(literal(within, ModelRow.within.type), literal(name, ModelRow.name.type)) < tuple_(*ENTRY)
        )
    found = _entries(session, conditions, limit + 1)
    listed = page(found, limit, lambda row: cursor("models", row.registry, row.name))
    return Page(_summaries(session, listed.items), listed.next)


def _get(session: Session, model: str) -> ModelSummary:
    entry = entry_of(model)
    found = _entries(session, [ModelRow.within == entry.registry, ModelRow.name == entry.name], 1)
    if not found:
        raise NotFound(f"there is no model {entry}: `registry-auditor models list` shows all")
    return _summaries(session, found)[0]


def _entries(session: Session, conditions: Sequence[ColumnElement[bool]], limit: int) -> list[Row[str, str, int]]:
    """Registry, name and number of revisions of some entries, by name."""
    first = select(ModelRow.within.label("registry"), ModelRow.name).where(*conditions).group_by(*ENTRY)
    page = first.order_by(*ENTRY).limit(limit).subquery()
    revisions = select(func.count()).where(ModelRow.within == page.c.registry, ModelRow.name == page.c.name)
    counted = select(page, revisions.scalar_subquery()).order_by(page.c.registry, page.c.name)
    return list(session.execute(counted).all())


def _summaries(session: Session, entries: Sequence[Row[str, str, int]]) -> tuple[ModelSummary, ...]:
    if not entries:
        return ()
    names = [(registry, name) for registry, name, _ in entries]
    seen = select(*ENTRY, func.max(SightingRow.last_seen_at)).join(SightingRow, SightingRow.model_id == ModelRow.id)
    seen_at = {
        (within, name): at for within, name, at in session.execute(seen.where(newest.named(names)).group_by(*ENTRY))
    }
    audits = newest.of_entries(session, names)
    counts = newest.counts(session, [audit.id for audit in audits.values()])
    return tuple(
        ModelSummary(
            id=model_id(ModelRef(registry, name)),
            ref=ModelRef(registry, name),
            revisions=revisions,
            audit=audits.get((registry, name)),
            counts=_counts(counts, audits.get((registry, name))),
            last_seen_at=seen_at.get((registry, name)),
        )
        for registry, name, revisions in entries
    )


def _revisions(session: Session, model: str, *, limit: int, after: str | None) -> Page[Revision]:
    entry = entry_of(model)
    of_entry = (ModelRow.within == entry.registry, ModelRow.name == entry.name)
    seen_at = func.max(SightingRow.last_seen_at)
    asked_at = select(func.max(AuditRow.queued_at)).where(AuditRow.model_id == ModelRow.id).scalar_subquery()
    each = (
        select(ModelRow.id, seen_at.label("seen"), func.coalesce(seen_at, asked_at).label("at"))
        .outerjoin(SightingRow, SightingRow.model_id == ModelRow.id)
        .where(*of_entry)
        .group_by(ModelRow.id)
        .subquery()
    )
    # Of those never seen nor audited, such as a base that was only named: by when they were first heard of.
    numbered = session.execute(select(each.c.id, each.c.at).order_by(each.c.at.desc().nulls_last(), each.c.id.desc()))
    ids = [row.id for row in numbered]
    if not ids:
        raise NotFound(f"there is no model {entry}: `registry-auditor models list` shows all")
    if after is not None:
        (last,) = place(after, "revisions", int)
        if last not in ids:
            raise misplaced("revisions")
        ids = ids[ids.index(last) + 1 :]
    listed = page(ids, limit, lambda number: cursor("revisions", number))
    return Page(_revised(session, listed.items), listed.next)


def _revised(session: Session, ids: Sequence[int]) -> tuple[Revision, ...]:
    models = {row.id: row for row in session.scalars(select(ModelRow).where(ModelRow.id.in_(ids)))}
    sightings: dict[int, list[Row[SightingRow, ModelRow]]] = {number: [] for number in ids}
    told = (
        select(SightingRow, BaseModel)
        .outerjoin(BaseModel, BaseModel.id == SightingRow.base_id)
        .where(SightingRow.model_id.in_(ids))
        .order_by(SightingRow.last_seen_at, SightingRow.id)
    )
    for row in session.execute(told):
        sightings[row[0].model_id].append(row)
    audits = newest.of_models(session, ids)
    counts = newest.counts(session, [audit.id for audit in audits.values()])
    return tuple(
        _revision(models[number], sightings[number], audits.get(number), _counts(counts, audits.get(number)))
        for number in ids
    )


def _revision(
    model: ModelRow, seen: Sequence[Row[SightingRow, ModelRow]], audit: Audit | None, counts: Mapping[Severity, int]
) -> Revision:
    latest: SightingRow | None = None
    base: ModelRow | None = None
    if seen:
        latest, base = seen[-1]
    asked = None if audit is None else audit.job
    return Revision(
        ref=rows.model_ref(model),
        digest=model.digest,
        audit=audit,
        counts=counts,
        first_seen_at=min((row[0].first_seen_at for row in seen), default=None),
        last_seen_at=latest.last_seen_at if latest else None,
        base=rows.model_ref(base) if base else asked.base if asked else None,
        base_source=latest.source if latest and latest.source else asked.base_source if asked else None,
        skipped=latest.skipped if latest else None,
    )


def _counts(counts: Mapping[str, Mapping[Severity, int]], audit: Audit | None) -> Mapping[Severity, int]:
    return counts.get(audit.id, {}) if audit else {}
