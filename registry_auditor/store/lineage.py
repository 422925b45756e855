"""Who was made from whom, as sightings and audits tell it."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Select, and_, func, or_, select, union
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import NotFound
from registry_auditor.store import newest
from registry_auditor.store.catalogue import Descent, entry_of
from registry_auditor.store.engine import one_by_one
from registry_auditor.store.newest import Entry
from registry_auditor.store.tables import AuditRow, ModelRow, SightingRow

GENERATIONS = 12
"""How far up and down the tree of one model goes: longer chains are claims of strangers, not models."""

Tuned, Base = aliased(ModelRow, name="tuned"), aliased(ModelRow, name="base")
ENTRY = (Tuned.within, Tuned.name)
Edge = tuple[Entry, Entry, BaseSource | None]


def lineage(session: Session, model: str | None, *, limit: int) -> list[Descent]:
    """Who was made from whom: all models by name, or those above and below one, the nearest first."""
    edges = _all(session, limit) if model is None else _around(session, entry_of(model), limit)
    verdicts = newest.verdicts(session, {tuned for tuned, _, _ in edges}) if edges else {}
    return [Descent(ModelRef(*tuned), ModelRef(*base), source, verdicts.get(tuned)) for tuned, base, source in edges]


def _all(session: Session, limit: int) -> list[Edge]:
    claimed = select(SightingRow.id).where(SightingRow.model_id == Tuned.id, SightingRow.base_id.is_not(None))
    examined = select(AuditRow.id).where(AuditRow.model_id == Tuned.id, AuditRow.base_id.is_not(None))
    made = select(*ENTRY).where(or_(one_by_one(claimed), one_by_one(examined))).group_by(*ENTRY)
    first = session.execute(made.order_by(*ENTRY).limit(limit))
    return _of(session, limit, tuned={(within, name) for within, name in first})


def _around(session: Session, start: ModelRef, limit: int) -> list[Edge]:
    entry = (start.registry, start.name)
    known = select(ModelRow.id).where(ModelRow.within == entry[0], ModelRow.name == entry[1]).limit(1)
    if session.scalar(known) is None:
        raise NotFound(f"there is no model {start}: `registry-auditor models list` shows all")
    found: dict[Edge, None] = {}
    above, below, met = {entry}, {entry}, {entry}
    for _ in range(GENERATIONS):
        up = _of(session, limit - len(found), tuned=above)
        found |= dict.fromkeys(up)
        down = _of(session, limit - len(found), base=below)
        found |= dict.fromkeys(down)
        above, below = {base for _, base, _ in up} - met, {tuned for tuned, _, _ in down} - met
        met |= above | below
        if len(found) >= limit or not (above or below):
            break
    return list(found)[:limit]


def _of(session: Session, limit: int, *, tuned: Collection[Entry] = (), base: Collection[Entry] = ()) -> list[Edge]:
    """Edges from `tuned`, else those to `base`."""
    if limit <= 0 or not (tuned or base):
        return []
    # Names alone may fit entries of other registries too.
    known = aliased(ModelRow, select(ModelRow).where(newest.named(tuned or base)).cte("known"))
    if tuned:
        return [edge for edge in _edges(session, limit, known, Base) if edge[0] in tuned]
    return [edge for edge in _edges(session, limit, Tuned, known) if edge[1] in base]


def _edges(session: Session, limit: int, tuned: type[ModelRow], base: type[ModelRow]) -> list[Edge]:
    each = union(
        _told(SightingRow, SightingRow.source, tuned, base), _told(AuditRow, AuditRow.base_source, tuned, base)
    ).subquery()
    # An audit may know nobody who says so, or somebody else than the registry: each pair is one edge.
    names = (each.c.registry, each.c.name, each.c.base_registry, each.c.base_name)
    grouped = select(*names, func.max(each.c.source, type_=SightingRow.source.type)).group_by(*names)
    rows = session.execute(grouped.order_by(*names).limit(limit))
    return [((registry, name), (of, base_name), source) for registry, name, of, base_name, source in rows]


def _told(
    table: type[SightingRow] | type[AuditRow],
    source: InstrumentedAttribute[BaseSource | None],
    tuned: type[ModelRow],
    base: type[ModelRow],
) -> Select[str, str, str, str, BaseSource | None]:
    return (
        select(
            tuned.within.label("registry"),
            tuned.name.label("name"),
            base.within.label("base_registry"),
            base.name.label("base_name"),
            source.label("source"),
        )
        .select_from(table)
        .join(tuned, tuned.id == table.model_id)
        .join(base, base.id == table.base_id)
        .where(~and_(tuned.within == base.within, tuned.name == base.name))
    )
