"""Version 1 of the query API: every noun has a file with its routes and the shapes of its answers."""

from __future__ import annotations

from fastapi import APIRouter

from registry_auditor.api.v1 import (
    analyzers,
    audits,
    banks,
    directions,
    findings,
    models,
    registries,
    suppressions,
    tokens,
)

NOUNS = (models, audits, findings, suppressions, directions, banks, analyzers, registries, tokens)


def router() -> APIRouter:
    """Every route, under /api/v1; the application's state holds what they need."""
    routes = APIRouter(prefix="/api/v1")
    for noun in NOUNS:
        routes.include_router(noun.routes)
    return routes
