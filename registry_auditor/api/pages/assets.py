"""What pages load beside themselves, all of it from this installation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response

from registry_auditor.report.html import style

FOR_EVER = "public, max-age=31536000, immutable"
"""Their addresses carry a digest: other bytes have another address."""


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    media_type: str

    @property
    def version(self) -> str:
        """Equal for equal bytes."""
        return hashlib.sha256(self.content).hexdigest()[:12]


@cache
def assets() -> dict[str, Asset]:
    """Every asset by name; nothing else can be asked for."""
    folder = files("registry_auditor.api.pages") / "static"
    styles = style() + (folder / "pages.css").read_text(encoding="utf-8")
    return {
        "style.css": Asset(styles.encode(), "text/css; charset=utf-8"),
        "htmx.min.js": Asset((folder / "htmx.min.js").read_bytes(), "text/javascript; charset=utf-8"),
        "icon.svg": Asset((folder / "icon.svg").read_bytes(), "image/svg+xml"),
    }


def address(name: str) -> str:
    """Where a page finds the asset of this name."""
    return f"/static/{name}?v={assets()[name].version}"


def router() -> APIRouter:
    """`/static/…`, open to everybody."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/static/{name}")
    def asset(name: str) -> Response:
        """One asset."""
        found = assets().get(name)
        if found is None:
            raise HTTPException(404, "there is no such file")
        headers = {"cache-control": FOR_EVER, "etag": f'"{found.version}"'}
        return Response(found.content, media_type=found.media_type, headers=headers)

    return routes
