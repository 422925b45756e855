"""`/registries`: what is watched, what it showed, and why some of it is not audited."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from registry_auditor.api.pages.visit import Blank, Glob, Here, Text
from registry_auditor.api.standing import without_secrets
from registry_auditor.store import Watched

pages = APIRouter(include_in_schema=False)


@pages.get("/registries")
def registries(
    visit: Here,
    after: Text = None,
    registry: Text = None,
    model: Glob = None,
    skipped: Annotated[bool | None, Blank] = None,
) -> HTMLResponse:
    """Every watched registry, and the sightings that fit."""
    followed = {state.registry: state for state in visit.store.watched.list()}
    watched = [followed.pop(spec, Watched(spec)) for spec in visit.settings.registries] + list(followed.values())
    found = visit.store.sightings.list(after=after, registry=registry, model_glob=model, skipped=skipped)
    return visit.page(
        "registries.html", "Registries", found=found, watched=watched, named=[each.registry for each in watched],
        plain=without_secrets,
    )  # fmt: skip
