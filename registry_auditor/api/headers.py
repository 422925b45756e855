"""What every answer says to browsers, and answers to HEAD."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not no-referrer: under it browsers also hide where a form of ours was sent from.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
REVALIDATED = "private, no-cache"
"""What has an ETag may be kept by who has asked, who then asks whether it still holds."""


class Headed:
    """An application whose answers say what browsers need to hear; a route may say something stricter itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; HEAD as GET would be, without the body."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        bodiless = scope["method"] == "HEAD"

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                complete(MutableHeaders(scope=message))
            elif bodiless and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        return await self._app({**scope, "method": "GET"} if bodiless else scope, receive, headed)


def complete(headers: MutableHeaders) -> None:
    """Afterwards `headers` hold all that they must; what a route has set stays."""
    for name, value in SECURITY.items():
        headers.setdefault(name, value)
    headers.setdefault("cache-control", REVALIDATED if "etag" in headers else "no-store")
