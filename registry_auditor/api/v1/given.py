"""What the routes are given: the store, who asks, which page, and whether a request is a repetition."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, HTTPException, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field
from starlette.concurrency import run_in_threadpool

from registry_auditor.api.access import Access, Bearer, Cookie, Principal
from registry_auditor.api.v1.parameters import require_known
from registry_auditor.config import Settings
from registry_auditor.domain import Author, Scope
from registry_auditor.errors import Conflict
from registry_auditor.report.records import Json, listing
from registry_auditor.store import Page, Store

T = TypeVar("T")
REPLAYED = "idempotency-replayed"


async def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


Kept = Annotated[Store, Depends(_store)]
"""The store."""
Set = Annotated[Settings, Depends(_settings)]
"""The settings."""


def _needs(scope: Scope) -> Callable[[Request, Bearer, Cookie], Principal]:
    def caller(request: Request, _bearer: Bearer, _cookie: Cookie) -> Principal:
        access: Access = request.app.state.access
        principal = access.caller(request, scope)
        require_known(request)
        return principal

    return caller


READS = [Depends(_needs(Scope.READ))]
"""Of routes that whoever has a good token may ask."""
ADMINS = [Depends(_needs(Scope.ADMIN))]
"""Of routes for administrators."""

Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text of yours, fresh for each request: sent again with the same one, it is done once.",
        examples=["4f1c0c2e-8f0b-4a55-9d0e-2b8c8a1f7d11"],
    ),
]


def _writes(scope: Scope) -> Callable[..., Coroutine[Any, Any, Author]]:
    async def author(request: Request, bearer: Bearer, cookie: Cookie, idempotency_key: Key = None) -> Author:
        principal = await run_in_threadpool(_needs(scope), request, bearer, cookie)
        asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode() + await request.body()
        return principal.author(idempotency_key, hashlib.sha256(asked).hexdigest())

    return author


Triager = Annotated[Author, Depends(_writes(Scope.TRIAGE))]
Submitter = Annotated[Author, Depends(_writes(Scope.SUBMIT))]
Admin = Annotated[Author, Depends(_writes(Scope.ADMIN))]
"""Who writes, if they may."""


def once(store: Store, by: Author, response: Response, write: Callable[[], T]) -> T:
    """What `write` returns; the store does it once for each key. A repetition is marked on `response`.

    Raises HTTPException: 422 if the key was used for another request.
    """
    if _is_repeated(store, by):
        response.headers[REPLAYED] = "true"
    try:
        return write()
    except Conflict:
        _is_repeated(store, by)  # somebody else may have used the key meanwhile
        raise


def _is_repeated(store: Store, by: Author) -> bool:
    try:
        return by.key is not None and store.writes.replayed(by) is not None
    except Conflict as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


LONGEST_PLACE = 6000
"""Of a place in a list: it may hold the path of a folder."""
PLACE = "WyJhdWRpdHMiLCIwMTk5YTFiMi03YzNkLTdlNGYtOGE1Yi02YzdkOGU5ZjBhMWIiXQ"


@dataclass(frozen=True)
class Asked:
    """Which page of a list is asked for."""

    limit: int
    after: str | None

    @property
    def place(self) -> dict[str, Any]:
        """As arguments of the store."""
        return {"limit": self.limit, "after": self.after}


async def _asked(
    limit: Annotated[int, Query(ge=1, le=500, description="How many items at most.")] = 50,
    after: Annotated[
        str | None, Query(max_length=LONGEST_PLACE, description="The `next` of the page before.", examples=[PLACE])
    ] = None,
) -> Asked:
    return Asked(limit, after)


Paging = Annotated[Asked, Depends(_asked)]


def answer(page: Page[T], record: Callable[[T], Json]) -> Json:
    """A page as `{items, next}`."""
    return listing([record(item) for item in page.items], page.next)


def _spelt(given: Any) -> Any:
    # What pydantic would take for seconds since 1970: `2026` is a year to whoever writes it.
    if isinstance(given, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", given):
        return given
    raise ValueError("a time is written like 2026-03-01T00:00:00Z; in an address, + is %2B")


Id = Annotated[
    str,
    Path(
        pattern=r"^[0-9a-f]{1,8}(-[0-9a-f]{0,4}){0,3}(-[0-9a-f]{0,12})?$",
        description="An id, or its first characters.",
        examples=["0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"],
    ),
]
MODEL_GLOB = r"^[^*\x00]*(\*[^*\x00]*){0,5}$"
"""To match many stars takes a database for ever."""
Plain = r"^[^\x00]*$"
"""PostgreSQL knows no NUL."""
Glob = Annotated[
    str | None,
    Field(min_length=1, max_length=200, pattern=MODEL_GLOB, description="`*` is any text, `?` any character."),
]
AuditId = Annotated[str | None, Field(min_length=1, max_length=64, pattern=Plain, description="Id of an audit.")]


Instant = Annotated[AwareDatetime, BeforeValidator(_spelt)]
"""A time that somebody gives."""


class Filters(BaseModel):
    """Which items of a list are asked for; what is absent does not matter."""

    def filters(self) -> dict[str, Any]:
        """As arguments of the store."""
        return self.model_dump(by_alias=True, exclude_none=True)
