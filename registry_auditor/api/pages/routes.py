"""All pages, put into the web application."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response

from registry_auditor.api.access import Access
from registry_auditor.api.pages import (
    analyzers,
    assets,
    audits,
    directions,
    findings,
    models,
    overview,
    registries,
    session,
    suppressions,
    triage,
)
from registry_auditor.api.pages.site import PageRoute, is_for_people, refusal
from registry_auditor.api.pages.visit import entrance
from registry_auditor.api.problems import problem
from registry_auditor.config import Settings
from registry_auditor.store import Store

INSIDE = (analyzers, audits, directions, findings, models, registries, suppressions, triage)


def install(app: FastAPI, store: Store, settings: Settings, access: Access) -> None:
    """Afterwards `app` has the pages, and what it does not have is told to people as a page."""
    app.include_router(assets.router())
    app.include_router(session.router(access))
    inside = APIRouter(
        route_class=PageRoute, include_in_schema=False, dependencies=[Depends(entrance(store, settings, access))]
    )
    inside.include_router(overview.router(store))
    for each in INSIDE:
        inside.include_router(each.pages)
    app.include_router(inside)

    def missing(request: Request, error: Exception) -> Response:
        detail = error.detail if isinstance(error, HTTPException) else "Not Found"
        if is_for_people(request) and not request.url.path.startswith("/api/"):
            return refusal(request, 404, "there is no such page")
        return problem(404, detail)

    app.add_exception_handler(404, missing)
