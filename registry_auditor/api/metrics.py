"""`GET /metrics`: what Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from registry_auditor.api.hooks import Hooks
from registry_auditor.api.standing import Standing

if TYPE_CHECKING:
    from registry_auditor.api.families import Exposition


def router(standing: Callable[[], Standing | None], hooks: Hooks) -> APIRouter:
    """The route."""

    @cache
    def exposition() -> Exposition:
        # Imported with the first scrape: the library takes a twentieth of the time of a start.
        from registry_auditor.api.families import Exposition

        return Exposition(standing, hooks)

    routes = APIRouter()

    @routes.get("/metrics", response_class=Response, responses=SCRAPED)
    def metrics(request: Request) -> Response:
        """Figures for Prometheus, as text or OpenMetrics."""
        content, media_type = exposition()(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": media_type, "cache-control": "no-store"})

    return routes


SCRAPED: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The figures.",
        "content": {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")},
    }
}
