"""Answers that a client may have already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import Header, Response

IfNoneMatch = Annotated[str | None, Header(description="The `ETag` of what the client has.")]


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether a client has what bears `etag`, by what it says."""
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in (if_none_match or "").split(",")]
    return etag in tags or "*" in tags


def tagged(content: bytes, if_none_match: str | None, *, media_type: str, headers: Mapping[str, str]) -> Response:
    """`content` with the digest of its bytes as ETag, or that the client has it."""
    etag = hashlib.sha256(content).hexdigest()
    marked = {**headers, "etag": f'"{etag}"'}
    if is_known(if_none_match, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=marked)
    return Response(content, media_type=media_type, headers=marked)
