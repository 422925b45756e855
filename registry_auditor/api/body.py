"""Reads the body of a request, and not more than is sensible."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import HTTPException, Request
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 2**20
"""The largest payload that any source documents is far below; so is a direction of 65,536 dimensions as JSON."""
PATIENCE_S = 10
"""For all of it: otherwise a sender that never ends could hold its memory for ever."""
CLOSE = {"connection": "close"}
"""Where half a body has arrived, the connection cannot be used for another request."""


class Limited:
    """An application whose requests bring no more than MAX_BYTES, within PATIENCE_S of being asked for them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, _limited(scope, receive) if scope["type"] == "http" else receive, send)


async def read(request: Request) -> bytes:
    """The raw body of a request to a `Limited` application.

    Raises HTTPException: 413 as soon as it is known to be longer than MAX_BYTES, by what the sender declares or by
    what arrives; 408 if it takes longer than PATIENCE_S or breaks off.
    """
    try:
        return await request.body()
    except ClientDisconnect:
        raise _too_slow() from None


def _limited(scope: Scope, receive: Receive) -> Receive:
    declared = Headers(scope=scope).get("content-length", "")
    taken, deadline, whole = 0, 0.0, False

    async def next_message() -> Message:
        nonlocal taken, deadline, whole
        if whole:  # what comes now is that the client has gone, for which one may wait as long as the answer takes
            return await receive()
        if declared.isdecimal() and int(declared[:20]) > MAX_BYTES:
            raise _too_large()
        deadline = deadline or asyncio.get_running_loop().time() + PATIENCE_S
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise _too_slow() from None
        taken += len(message.get("body", b""))
        if taken > MAX_BYTES:
            raise _too_large()
        whole = not message.get("more_body", False)
        return message

    return next_message


def _too_slow() -> HTTPException:
    return HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time", CLOSE)


def _too_large() -> HTTPException:
    # The connection stays open, and the server drops what still comes: to close it on a sender that is sending
    # resets it, and the sender would not see this answer.
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body of a request has at most {MAX_BYTES} bytes; nothing was taken"
    )
