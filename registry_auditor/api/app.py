"""The web application, assembled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from registry_auditor.api import health, metrics, problems
from registry_auditor.api.doors import doors
from registry_auditor.api.hooks import Hooks
from registry_auditor.api.intake import Intake
from registry_auditor.api.recent import Recent
from registry_auditor.api.standing import reader
from registry_auditor.config import Settings
from registry_auditor.store import Store


def create_app(settings: Settings, store: Store | None = None) -> FastAPI:
    """Hooks, health and metrics on `store`; without one, on that of the settings, closed when the server stops.

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
        title="Registry Auditor", version=version("registry-auditor"), docs_url=None, redoc_url=None, lifespan=lifespan
    )
    problems.install(app)
    hooks = Hooks(entrances, Intake(opened.accept), folders=_folders(settings))
    standing = Recent(reader(opened, settings.db))
    app.include_router(hooks.router())
    app.include_router(health.router(standing))
    app.include_router(metrics.router(standing, hooks))
    return app


def _folders(settings: Settings) -> tuple[Path, ...]:
    """The folders among the watched registries."""
    specs = (spec.partition(":") for spec in settings.registries)
    return tuple(Path(path).expanduser().resolve() for scheme, _, path in specs if scheme == "dir")
