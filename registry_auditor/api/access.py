"""Who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from registry_auditor.api.origins import SAFE, require_same_origin
from registry_auditor.api.rates import Limits, Rates
from registry_auditor.domain import Author, Scope, Token
from registry_auditor.store import Store

COOKIE = "ra_session"
"""Holds the token of somebody who signed in on the pages."""

Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(HTTPBearer(auto_error=False, scheme_name="token", description="`registry-auditor tokens create NAME`")),
]
Cookie = Annotated[
    str | None,
    Security(APIKeyCookie(name=COOKIE, auto_error=False, scheme_name="session", description="What the pages set.")),
]
"""What OpenAPI is told; the dependency reads the request itself."""


@dataclass(frozen=True)
class Principal:
    """Somebody who asks for something."""

    name: str
    """`token:ci`; `local` where nobody needs a token."""
    scopes: frozenset[Scope]

    def allows(self, scope: Scope) -> bool:
        """Whether they may do what needs `scope`: `admin` everything, and each other one also reads."""
        return scope in self.scopes or Scope.ADMIN in self.scopes or (scope is Scope.READ and bool(self.scopes))

    def author(self, key: str | None = None, request: str | None = None) -> Author:
        """Them as the author of a write; `key` and `request` recognise its repetition."""
        return Author(self.name, key, request)


LOCAL = Principal("local", frozenset(Scope))


class Access:
    """Lets in whoever has a good token, in the `Authorization` header or in the session cookie."""

    def __init__(self, store: Store, *, open_to_all: bool, limits: Limits) -> None:
        """`open_to_all`: nobody needs a token. Only for a server that listens on loopback behind `LoopbackOnly`."""
        self.open_to_all = open_to_all
        self._store = store
        self._rates = Rates(limits)

    def caller(self, request: Request, scope: Scope) -> Principal:
        """Who asks.

        Raises HTTPException: 401 without a good token, 403 for one that is not good for `scope` and for a write
        from a page of another site, 429 for too many requests.
        """
        if self.open_to_all:
            require_same_origin(request, certain=False)
            return LOCAL
        secret = _bearer(request)
        if secret is None and (secret := request.cookies.get(COOKIE)) is not None:
            require_same_origin(request, certain=True)
        writes = scope is not Scope.READ and request.method not in SAFE
        principal = _principal(self.recognise(request, secret or "", writes=writes))
        if not principal.allows(scope):
            raise HTTPException(
                HTTPStatus.FORBIDDEN,
                f"this token is not good for that: it takes one with the scope {scope}",
                {"www-authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            )
        return principal

    def recognise(self, request: Request, secret: str, *, writes: bool = False) -> Token:
        """The token of `secret`. Raises HTTPException: 401 if it is no good one, 429 for too many requests."""
        token = self._store.tokens.authenticate(secret) if secret else None
        if token is None:
            # After the look into the store: what strangers do behind the same proxy shuts nobody out.
            self._rates.fail(request.client.host if request.client else "")
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                "a good token is needed: pass it as `Authorization: Bearer ra_…`"
                if not secret
                else "the token is unknown, was revoked or has expired",
                {"www-authenticate": "Bearer"},
            )
        self._rates.use(request, token.id, writes=writes)
        return token


def _bearer(request: Request) -> str | None:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def _principal(token: Token) -> Principal:
    return Principal(f"token:{token.name}", token.scopes)
