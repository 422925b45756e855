"""Version 1 of the query API: every noun has a file with its routes and the shapes of its answers."""

from __future__ import annotations

from fastapi import FastAPI

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


def install(app: FastAPI) -> None:
    """Afterwards `app` has every route, under /api/v1; its state holds what they need."""
    for noun in NOUNS:
        app.router.routes.extend(noun.routes.routes)
