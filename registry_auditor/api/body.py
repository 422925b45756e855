"""Reads the body of a request, and not more than is sensible."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

MAX_BYTES = 2**20
"""The largest payload that any source documents is far below."""
PATIENCE_S = 10
"""For all of it: otherwise a sender that never ends could hold its memory for ever."""
CLOSE = {"connection": "close"}
"""Where half a body has arrived, the connection cannot be used for another request."""


async def read(request: Request) -> bytes:
    """The raw body.

    Raises HTTPException: 413 as soon as it is known to be longer than MAX_BYTES, by what the sender declares or by
    what arrives; 408 if it takes longer than PATIENCE_S or breaks off.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > MAX_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise _too_large()
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time", CLOSE) from None
    return bytes(body)


def _too_large() -> HTTPException:
    # The connection stays open, and the server drops what still comes: to close it on a sender that is sending
    # resets it, and the sender would not see this answer.
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a delivery has at most {MAX_BYTES} bytes; nothing was taken"
    )
