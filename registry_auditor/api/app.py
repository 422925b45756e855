"""The web application, assembled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from registry_auditor.api import health, metrics, openapi, pages, problems, v1
from registry_auditor.api.access import Access
from registry_auditor.api.admission import watched_folders
from registry_auditor.api.body import Limited
from registry_auditor.api.doors import doors
from registry_auditor.api.headers import Headed
from registry_auditor.api.hooks import Hooks
from registry_auditor.api.intake import Intake
from registry_auditor.api.origins import LoopbackOnly
from registry_auditor.api.rates import Limits, Paced
from registry_auditor.api.recent import Recent
from registry_auditor.api.standing import reader
from registry_auditor.config import Settings
from registry_auditor.store import Store


def create_app(settings: Settings, store: Store | None = None, *, open_to_all: bool = False) -> FastAPI:
    """API, pages, hooks, health and metrics on `store`; without one, on that of the settings, closed at the end.

    With `open_to_all` nobody needs a token: the caller then lets the server listen on loopback only.

    Raises UsageError if a hook has no secret, or one that is too weak; it names every fault.
    """
    entrances = doors(settings)
    opened = Store.open(settings.db, banks=settings.banks) if store is None else store

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if store is None:
            opened.close()

    # The pages that FastAPI offers for its documentation load scripts from elsewhere.
    app = FastAPI(
        title="Registry Auditor",
        version=version("registry-auditor"),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    _guard(app, open_to_all=open_to_all)
    app.state.store, app.state.settings = opened, settings
    app.state.access = Access(opened, open_to_all=open_to_all, limits=Limits.of(settings))
    hooks = Hooks(entrances, Intake(opened.deliveries.accept), folders=watched_folders(settings))
    standing = Recent(reader(opened, settings.db))
    v1.install(app)
    app.include_router(hooks.router())
    app.include_router(health.router(standing))
    app.include_router(metrics.router(standing, hooks))
    openapi.install(app)
    pages.install(app, opened, app.state.access)
    return app


def _guard(app: FastAPI, *, open_to_all: bool) -> None:
    """Afterwards what is said in `problems`, `body`, `rates`, `origins` and `headers` holds for every request."""
    problems.install(app)
    app.add_middleware(Limited)
    app.add_middleware(Paced)
    if open_to_all:
        app.add_middleware(LoopbackOnly)
    app.add_middleware(Headed)  # the last to be added is the outermost
