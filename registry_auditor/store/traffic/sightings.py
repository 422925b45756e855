"""What registries have shown us: each revision of a model once for every claim about its base."""

from __future__ import annotations

from typing import TypedDict, Unpack

from sqlalchemy import ColumnElement, Select, and_, delete, exists, literal, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.store import rows
from registry_auditor.store.cursors import cursor, place
from registry_auditor.store.engine import insert, now
from registry_auditor.store.filters import SightingFilters, of_sightings
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.read import BaseModel, page
from registry_auditor.store.records import Page, Sighting
from registry_auditor.store.tables import ModelRow, SightingRow

SIGHTINGS = (
    select(SightingRow, ModelRow, BaseModel)
    .join(ModelRow, ModelRow.id == SightingRow.model_id)
    .outerjoin(BaseModel, BaseModel.id == SightingRow.base_id)
)


class Claim(TypedDict, total=False):
    """What is said about a model that was seen; what is absent is None."""

    base: ModelRef | None
    source: BaseSource | None
    """Who says that this is the base."""
    skipped: str | None
    """Why no audit follows."""
    registry: str | None
    """The watched registry that showed it; None if only a person asked for it."""


class Sightings(Part):
    """Sightings."""

    def record(self, model: ModelRef, **claim: Unpack[Claim]) -> None:
        """Afterwards it is known that a registry showed `model`, and what was said about it.

        The same claim about the base again only renews the sighting, and tells why it is skipped now, if it is. One
        that was skipped without a base gets the base that was found.
        """
        self._write(_record, model, **claim)

    def list(
        self, *, limit: int = PAGE, after: str | None = None, **filters: Unpack[SightingFilters]
    ) -> Page[Sighting]:
        """Sightings, the latest to be seen for the first time first."""
        return self._read(_sightings, limit=limit, after=after, **filters)

    def newest(self, registry: str, *, limit: int = PAGE, after: str | None = None) -> Page[Sighting]:
        """Of each model that `registry` showed, the sighting that was renewed last; by name."""
        return self._read(_newest, registry, limit=limit, after=after)


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


def _record(session: Session, model: ModelRef, **claim: Unpack[Claim]) -> None:
    base, source = claim.get("base"), claim.get("source")
    model_id, base_id = register(session, model), None if base is None else register(session, base)
    session.get(ModelRow, model_id, with_for_update={"key_share": True})  # of two watchers, one adds the row
    time = now(session)
    sighting = session.scalar(_same(model_id, base_id, source))
    if sighting is None:
        sighting = SightingRow(model_id=model_id, first_seen_at=time)
        session.add(sighting)
    sighting.base_id, sighting.source, sighting.skipped = base_id, source, claim.get("skipped")
    sighting.last_seen_at = time
    # A person who asks for it does not take it out of the registry.
    sighting.shown_by = claim.get("registry") or sighting.shown_by
    session.flush()
    _drop_outdated(session, model, sighting)


def _drop_outdated(session: Session, model: ModelRef, sighting: SightingRow) -> None:
    """Drop what `sighting` has overtaken: why the model had no revision, and why it was skipped if it is no more."""
    overtaken: list[ColumnElement[bool]] = []
    if model.revision:
        named = (ModelRow.within == model.registry, ModelRow.name == model.name, ModelRow.revision == "")
        overtaken.append(SightingRow.model_id.in_(select(ModelRow.id).where(*named)))
    if sighting.skipped is None:
        overtaken.append(and_(SightingRow.model_id == sighting.model_id, SightingRow.skipped.is_not(None)))
    if overtaken:
        session.execute(delete(SightingRow).where(or_(*overtaken), SightingRow.id != sighting.id))


def _same(model_id: int, base_id: int | None, source: BaseSource | None) -> Select[SightingRow]:
    equal = and_(SightingRow.base_id.is_not_distinct_from(base_id), SightingRow.source.is_not_distinct_from(source))
    baseless = and_(SightingRow.base_id.is_(None), SightingRow.skipped.is_not(None))
    return (
        select(SightingRow)
        .where(SightingRow.model_id == model_id, or_(equal, baseless))
        .order_by(equal.desc(), SightingRow.id)
        .limit(1)
    )


def _sightings(
    session: Session, *, limit: int, after: str | None, **filters: Unpack[SightingFilters]
) -> Page[Sighting]:
    conditions = of_sightings(session, filters)
    if after is not None:
        conditions.append(SightingRow.id < place(after, "sightings", int)[0])
    statement = SIGHTINGS.where(*conditions).order_by(SightingRow.id.desc()).limit(limit + 1)
    found = session.execute(statement).all()
    shown = page(list(found), limit, lambda row: cursor("sightings", row[0].id))
    return Page(tuple(rows.sighting(*row) for row in shown.items), shown.next)


def _newest(session: Session, registry: str, *, limit: int, after: str | None) -> Page[Sighting]:
    later, other = aliased(SightingRow), aliased(ModelRow)
    of_same_model = and_(other.within == ModelRow.within, other.name == ModelRow.name)
    outdated = exists().where(
        later.model_id == other.id,
        of_same_model,
        later.shown_by == registry,
        tuple_(later.last_seen_at, later.id) > tuple_(SightingRow.last_seen_at, SightingRow.id),
    )
    conditions = [SightingRow.shown_by == registry, ~outdated]
    name = tuple_(ModelRow.within, ModelRow.name)
    if after is not None:
        last = zip(place(after, "newest sightings", str, str), (ModelRow.within, ModelRow.name), strict=True)
        conditions.append(name > tuple_(*(literal(value, key.type) for value, key in last)))
    statement = SIGHTINGS.where(*conditions).order_by(ModelRow.within, ModelRow.name).limit(limit + 1)
    found = [rows.sighting(*row) for row in session.execute(statement)]
    return page(found, limit, lambda item: cursor("newest sightings", item.model.registry, item.model.name))
