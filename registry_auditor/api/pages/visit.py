"""One request for a page, by somebody who may read."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import AfterValidator, BeforeValidator, Field

from registry_auditor.api.access import Access, Principal
from registry_auditor.api.pages.site import Crumbs, render
from registry_auditor.config import Settings
from registry_auditor.domain import Scope
from registry_auditor.store import Store

Blank = BeforeValidator(lambda given: None if isinstance(given, str) and not given.strip() else given)
"""A field of a form that was left empty."""
PLAIN = r"^[^\x00]*$"
"""PostgreSQL knows no NUL."""
MOST_STARS = 5
"""To match many takes a database for ever."""
Text = Annotated[Annotated[str, Field(max_length=1000, pattern=PLAIN)] | None, Blank]


def _somewhere(glob: str | None) -> str | None:
    if glob is not None and glob.count("*") > MOST_STARS:
        raise ValueError(f"has more than {MOST_STARS} stars; give more of the name")
    return glob if glob is None or set(glob) & set(":*?") else f"*{glob}*"


Glob = Annotated[Annotated[str, Field(max_length=200, pattern=PLAIN)] | None, Blank, AfterValidator(_somewhere)]
"""Which names: what a person types without a registry and without a star may stand anywhere in them."""
LONGEST = 500
"""Characters of the address to come back to after signing in."""


class Fields(dict[str, Any]):
    """What a form was sent with; what it was not sent with is empty."""

    def __missing__(self, name: str) -> str:
        return ""


@dataclass(frozen=True)
class Visit:
    """Who asks for which page, and where the answer comes from."""

    request: Request
    store: Store
    settings: Settings
    access: Access
    principal: Principal

    def page(
        self, template: str, title: str, *, crumbs: Crumbs = (), status: int = HTTPStatus.OK, **context: Any
    ) -> HTMLResponse:
        """The page."""
        return render(
            self.request, template, status=status, title=title, crumbs=crumbs, principal=self.principal,
            signed_in=not self.access.open_to_all, asked=Fields(self.request.query_params), **context,
        )  # fmt: skip

    def must(self, scope: Scope) -> Principal:
        """Who asks, if they may do what needs `scope`. Raises HTTPException: 403."""
        return self.access.caller(self.request, scope)


def enter(request: Request) -> Visit:
    """The visit of whoever may read; others are sent to sign in."""
    state = request.app.state
    access: Access = state.access
    try:
        principal = access.caller(request, Scope.READ)
    except HTTPException as error:
        if error.status_code != HTTPStatus.UNAUTHORIZED:
            raise
        raise HTTPException(HTTPStatus.SEE_OTHER, headers={"location": sign_in(request)}) from error
    return Visit(request, state.store, state.settings, access, principal)


Here = Annotated[Visit, Depends(enter)]
"""What every page takes: so it is shown to nobody who may not read."""


def sign_in(request: Request) -> str:
    """The address at which to sign in, and from which one comes back here."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method != "GET" or len(here) > LONGEST:
        here = "/"
    return f"/login?next={quote(here, safe='')}"


def to(address: str) -> RedirectResponse:
    """Go and see, after something was written."""
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)
