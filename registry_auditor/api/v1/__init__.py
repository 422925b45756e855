"""The query API, under /api/v1: one file a noun."""

from __future__ import annotations

from fastapi import APIRouter

from registry_auditor.api.access import Access
from registry_auditor.config import Settings
from registry_auditor.store import Store


def router(store: Store, settings: Settings, access: Access) -> APIRouter:
    """Every route of the API."""
    return APIRouter(prefix="/api/v1")
