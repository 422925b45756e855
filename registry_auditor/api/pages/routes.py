"""All pages, put into the web application."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI

from registry_auditor.api.access import Access
from registry_auditor.api.pages import (
    analyzers,
    asking,
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
from registry_auditor.api.pages.site import refusal
from registry_auditor.api.pages.visit import entrance
from registry_auditor.config import Settings
from registry_auditor.store import Store

INSIDE = (analyzers, asking, audits, directions, findings, models, registries, suppressions, triage)


def install(app: FastAPI, store: Store, settings: Settings, access: Access) -> None:
    """Afterwards `app` has the pages, and what is wrong is told to people as a page."""
    app.state.page_of_problem = refusal
    app.include_router(assets.router())
    app.include_router(session.router(access))
    inside = APIRouter(include_in_schema=False, dependencies=[Depends(entrance(store, settings, access))])
    inside.include_router(overview.router(store))
    for each in INSIDE:
        inside.include_router(each.pages)
    app.include_router(inside)
