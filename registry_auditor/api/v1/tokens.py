"""API tokens and the log of writes, for administrators."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path, Response
from pydantic import ConfigDict, Field

from registry_auditor.api.v1.given import ADMINS, Admin, Instant, Kept, Paging, Plain, answer, once
from registry_auditor.api.v1.routing import routes_of
from registry_auditor.api.v1.shapes import Items, Moment, Sent, Shape
from registry_auditor.domain import Scope
from registry_auditor.report import answers
from registry_auditor.report.records import Json

routes = routes_of("tokens")

TokenId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,24}$", description="The id of a token, or its first characters.")]


class Token(Shape):
    """A token; its secret is not kept."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: Moment
    created_by: str
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None = Field(description="To a minute.")


class NewToken(Token):
    """A token that was made just now."""

    secret: str | None = Field(description="Shown once: null when the request is repeated.", examples=["ra_…"])


class WantedToken(Sent):
    """A token that somebody asks for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "ci", "scopes": ["submit"], "expires_at": "2027-01-31T00:00:00Z"}],
        },
    )

    name: str = Field(min_length=1, max_length=100, pattern=Plain)
    scopes: set[Scope] = Field(min_length=1)
    expires_at: Instant | None = None


class Write(Shape):
    """A line of the log of writes."""

    id: str
    at: Moment
    by: str = Field(examples=["token:ci"])
    action: str = Field(examples=["findings.triage"])
    target: str
    detail: dict[str, Any]


@routes.get("/tokens", dependencies=ADMINS, response_model=Items[Token])
def list_tokens(store: Kept, page: Paging) -> Json:
    """Tokens, newest first, ended ones included."""
    return answer(store.tokens.list(**page.place), answers.token)


@routes.post("/tokens", response_model=NewToken, status_code=HTTPStatus.CREATED)
def create_token(store: Kept, by: Admin, wanted: WantedToken, response: Response) -> Json:
    """Make a token. Its secret is in this answer and nowhere else."""
    scopes, expires_at = frozenset(wanted.scopes), wanted.expires_at
    make = lambda: store.tokens.create(wanted.name, scopes, expires_at=expires_at, by=by)  # noqa: E731
    token, secret = once(store, by, response, make)
    response.headers["location"] = f"/api/v1/tokens/{token.id}"
    return answers.token(token) | {"secret": secret or None}


@routes.get("/tokens/{token_id}", dependencies=ADMINS, response_model=Token)
def get_token(store: Kept, token_id: TokenId) -> Json:
    """One token, without its secret."""
    return answers.token(store.tokens.get(token_id))


@routes.delete("/tokens/{token_id}", response_model=Token)
def revoke_token(store: Kept, by: Admin, token_id: TokenId, response: Response) -> Json:
    """End a token: it opens nothing any more."""
    return answers.token(once(store, by, response, lambda: store.tokens.revoke(token_id, by=by)))


@routes.get("/writes", dependencies=ADMINS, response_model=Items[Write])
def list_writes(store: Kept, page: Paging) -> Json:
    """Who did what, newest first."""
    return answer(store.writes.list(**page.place), answers.written)
