"""What all pages have in common: their frame, their addresses, and how they say no."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader
from starlette.exceptions import HTTPException

from registry_auditor.api.pages.assets import address
from registry_auditor.api.problems import STATUSES, unavailable
from registry_auditor.domain import Scope
from registry_auditor.errors import StoreError, UsageError
from registry_auditor.report.rendering import environment
from registry_auditor.report.view import page_of

NAVIGATION = (
    ("/", "Overview"),
    ("/models", "Models"),
    ("/lineage", "Lineage"),
    ("/audits", "Audits"),
    ("/findings", "Findings"),
    ("/triage", "Triage"),
    ("/suppressions", "Suppressions"),
    ("/compare", "Compare"),
    ("/analyzers", "Analyzers"),
    ("/registries", "Registries"),
)
Crumbs = tuple[tuple[str, str], ...]
"""Address and name of what lies above a page."""

REMEDIES = {
    HTTPStatus.NOT_FOUND: "Follow a link from one of the lists; an id may be shortened only as far as it stays unique.",
    HTTPStatus.FORBIDDEN: "Sign in with a token that has the scope; registry-auditor tokens create makes one.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Nothing was changed. Try again in half a minute; the log of the server says more.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Go back and correct what was given.",
    HTTPStatus.CONFLICT: "Look at it again: it has changed since.",
    HTTPStatus.TOO_MANY_REQUESTS: "Wait a minute, then try again.",
}


@cache
def templates() -> Environment:
    """The templates of pages and of what they share with reports."""
    made = environment(PackageLoader("registry_auditor.api.pages", "templates"))
    made.globals.update(asset=address, navigation=NAVIGATION, page_of=page_of, Scope=Scope)
    made.filters["query"] = query
    return made


def query(values: Mapping[str, Any], **changes: Any) -> str:
    """`values` with `changes` as the query of an address; what is None or empty is left out."""
    pairs = {key: value for key, value in {**values, **changes}.items() if value not in (None, "")}
    return "?" + urlencode(pairs) if pairs else "?"


def render(request: Request, template: str, *, status: int = HTTPStatus.OK, **context: Any) -> HTMLResponse:
    """A page; `context` has at least its title."""
    frame = {"path": request.url.path, "principal": None, "crumbs": (), "linked": True, "signed_in": False}
    text = templates().get_template(template).render({**frame, **context})
    # Lone surrogates are spelled out by `visible`; what a template itself holds has none.
    return HTMLResponse(text, status)


def refusal(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A page that says what is wrong, and what to do."""
    title = HTTPStatus(status).phrase
    remedy = REMEDIES.get(HTTPStatus(status), "Go back and try something else.")
    answer = render(request, "refusal.html", status=status, title=title, detail=detail, remedy=remedy, number=status)
    answer.headers.update(headers or {})
    return answer


def is_for_people(request: Request) -> bool:
    """Whether a browser asks that will show what it gets."""
    return "text/html" in request.headers.get("accept", "")


class PageRoute(APIRoute):
    """A route whose refusals are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answer as the route would, and with a page where it raises what is for people to know."""
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except HTTPException as error:
                if error.status_code < HTTPStatus.BAD_REQUEST:
                    return Response(status_code=error.status_code, headers=dict(error.headers or {}))
                return refusal(request, error.status_code, error.detail, error.headers)
            except RequestValidationError as error:
                fields = ", ".join(str(fault["loc"][-1])[:100] for fault in error.errors()[:5])
                return refusal(request, HTTPStatus.UNPROCESSABLE_ENTITY, f"what was given does not fit: {fields}")
            except UsageError as error:
                status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
                return refusal(request, status, str(error))
            except StoreError:
                if not is_for_people(request):
                    raise
                failed = unavailable()
                return refusal(request, failed.status_code, failed.detail, failed.headers)

        return handle
