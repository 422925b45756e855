"""Registries, and what they have shown: also why something was not audited."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from registry_auditor.api.standing import without_secrets
from registry_auditor.api.v1.given import READS, Glob, Kept, Paging, Plain, answer
from registry_auditor.api.v1.routing import routes_of
from registry_auditor.api.v1.shapes import Base, Content, Items, Moment, Shape
from registry_auditor.report import records
from registry_auditor.report.records import Json
from registry_auditor.store import Sighting as Seen
from registry_auditor.store import Watched

routes = routes_of("registries", dependencies=READS)


class Registry(Shape):
    """A watched registry, and how far it was looked at."""

    registry: str = Field(examples=["hf:my-org"])
    cursor: str | None
    polled_at: Moment | None
    full_at: Moment | None = Field(description="When all of it was last listed.")
    problem: str | None = Field(description="Why the latest look failed.")


class Registries(Shape):
    """All registries that were ever watched, by name."""

    items: list[Registry]
    next: None = None


class Sighting(Shape):
    """A registry showed a model."""

    model: Content
    base: Base | None
    skipped: str | None = Field(description="Why no audit follows from it.")
    registry: str | None = Field(description="null for what a person asked for.")
    first_seen_at: Moment
    last_seen_at: Moment


@routes.get("/registries", response_model=Registries)
def list_registries(store: Kept) -> Json:
    """Every registry that was ever watched, and why the latest look at it failed, if it did."""
    return records.listing([_watched(each) for each in store.watched.list()], None)


@routes.get("/sightings", response_model=Items[Sighting])
def list_sightings(
    store: Kept,
    page: Paging,
    model: Glob = None,
    skipped: Annotated[bool | None, Query(description="Only what is not audited, or only what is.")] = None,
    registry: Annotated[str | None, Query(min_length=1, max_length=1000, pattern=Plain, examples=["hf:my-org"])] = None,
) -> Json:
    """What registries have shown, the latest to be seen for the first time first."""
    return answer(store.sightings.list(model_glob=model, skipped=skipped, registry=registry, **page.place), _sighting)


def _watched(state: Watched) -> Json:
    # The address of a registry may hold a password.
    told = records.watched(state)
    return told | {key: told[key] and without_secrets(told[key]) for key in ("registry", "problem")}


def _sighting(seen: Seen) -> Json:
    told = records.sighting(seen)
    return told | {"registry": told["registry"] and without_secrets(told["registry"])}
