"""All pages, put into the web application."""

from __future__ import annotations

from fastapi import FastAPI

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
from registry_auditor.api.recent import Recent
from registry_auditor.store import Store

INSIDE = (overview, analyzers, asking, audits, directions, findings, models, registries, suppressions, triage)


def install(app: FastAPI, store: Store, access: Access) -> None:
    """Afterwards `app`, whose state holds what pages need, has them, and what is wrong is told to people as a page."""
    app.state.page_of_problem = refusal
    app.state.overview = Recent(lambda: overview.read(store))
    for routes in (assets.router(), session.router(access), *(each.pages for each in INSIDE)):
        app.router.routes.extend(routes.routes)
