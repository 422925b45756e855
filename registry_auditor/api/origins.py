"""Which addresses and pages a browser may come from.

A browser sends cookies along, and reaches loopback, on behalf of any page that it shows.
"""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from registry_auditor.api.problems import answer

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = ("/health", "/metrics", "/hooks/")
"""Say no secret, or want one of their own: a proxy may pass them on under another name."""


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without port, can be nothing but this machine."""
    name = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class LoopbackOnly:
    """An application that answers only under a name of this machine.

    A page elsewhere can have its own name point to 127.0.0.1, and would then read what is served there; the name
    that the browser believes in still arrives as `Host`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith(OPEN_PATHS) or is_loopback(_host(Headers(scope=scope))):
            return await self._app(scope, receive, send)
        detail = "without tokens this server answers to localhost, 127.0.0.1 and [::1] only"
        return await answer(Request(scope), HTTPStatus.MISDIRECTED_REQUEST, detail)(scope, receive, send)


def require_same_origin(request: Request, *, certain: bool) -> None:
    """Let pass what changes nothing, and what comes from a page of ours.

    With `certain`, what no browser has marked is refused as well: it is, where a cookie says who asks.

    Raises HTTPException: 403.
    Source: F. Valsorda, 2025, "Cross-Site Request Forgery" (the check of Go's net/http.CrossOriginProtection).
    """
    if request.method in SAFE:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    elif origin is not None:  # over plain HTTP browsers send this one alone
        ours = urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    else:
        ours = not certain
    if not ours:
        raise HTTPException(HTTPStatus.FORBIDDEN, "the request comes from a page of another site; nothing was done")


def _host(headers: Headers) -> str:
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""
