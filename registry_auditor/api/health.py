"""`GET /health`: can this process do its work, and what do the registries say?"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from registry_auditor.api.problems import problem
from registry_auditor.api.standing import Standing, age_s, without_secrets
from registry_auditor.store import SchemaState, Watched


def router(standing: Callable[[], Standing | None]) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.get("/health")
    def health() -> JSONResponse:
        """Whether the database can be used, since when work waits, and when each registry was last looked at."""
        now = standing()
        if now is None:
            return _unhealthy("the database cannot be used; the log of the server says why")
        if now.schema.state is not SchemaState.CURRENT:
            return _unhealthy(
                f"the schema of the database is {now.schema.state}: it has {now.schema.found or 'none'}, "
                f"the code needs {now.schema.expected}; run: registry-auditor db upgrade"
            )
        return JSONResponse(_healthy(now), headers={"cache-control": "no-store"})

    return routes


def _unhealthy(detail: str) -> JSONResponse:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"cache-control": "no-store"})


def _healthy(now: Standing) -> dict[str, Any]:
    oldest = [queue.oldest_due_at for queue in now.backlog if queue.oldest_due_at is not None]
    return {
        "status": "ok",
        "database": "ok",
        "schema": now.schema.found,
        "waiting": sum(queue.waiting for queue in now.backlog),
        "running": sum(queue.running for queue in now.backlog),
        "oldest_waiting_s": round(age_s(min(oldest)), 3) if oldest else None,
        "registries": [_registry(each) for each in now.watched],
    }


def _registry(watched: Watched) -> dict[str, Any]:
    return {
        "registry": without_secrets(watched.registry),
        "polled_at": watched.polled_at and watched.polled_at.isoformat(),
        "full_at": watched.full_at and watched.full_at.isoformat(),
        "problem": watched.problem and without_secrets(watched.problem),
    }
