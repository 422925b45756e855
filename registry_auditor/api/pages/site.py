"""What all pages have in common: their frame, their addresses, and how they say no."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader

from registry_auditor.api.pages.assets import address
from registry_auditor.domain import Scope
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
    HTTPStatus.BAD_REQUEST: "Go back and send it again.",
    HTTPStatus.FORBIDDEN: "Sign in with a token that has the scope: `registry-auditor tokens create` makes one.",
    HTTPStatus.NOT_FOUND: "Follow a link from one of the lists; an id may be shortened only as far as it stays unique.",
    HTTPStatus.METHOD_NOT_ALLOWED: "Go back to the page with the form, and send it from there.",
    HTTPStatus.REQUEST_TIMEOUT: "Nothing was changed. Send it again.",
    HTTPStatus.CONFLICT: "Look at it again: it has changed since.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Go back and give less: the comment, for instance.",
    HTTPStatus.MISDIRECTED_REQUEST: "Open http://127.0.0.1 with the port of this server; "
    "to serve others start it without `--no-auth`, and make tokens.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Go back and correct what was given.",
    HTTPStatus.TOO_MANY_REQUESTS: "Nothing was changed. Wait as long as it says, then try again.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Nothing that was saved before is lost. Try again; if it stays, tell whoever "
    "runs this server: the log has the cause beside the number below.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Try again in half a minute. If it stays, whoever runs this server finds the cause "
    "in its log, and with `registry-auditor doctor`.",
}
DEFAULTS = {
    HTTPStatus.NOT_FOUND: "there is no such page",
    HTTPStatus.METHOD_NOT_ALLOWED: "nothing can be read at this address: it takes what a form sends",
}
"""Where the framework says no by itself, and says nothing else."""


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
    where = {"path": request.url.path, "url": str(request.url), "shown_at": datetime.now(UTC)}
    frame = {**where, "principal": None, "crumbs": (), "linked": True, "signed_in": False}
    text = templates().get_template(template).render({**frame, **context})
    # Lone surrogates are spelled out by `visible`; what a template itself holds has none.
    return HTMLResponse(text, status)


def refusal(request: Request, status: int, detail: str, occurrence: str | None = None) -> HTMLResponse:
    """A page that says what is wrong, and what to do; `occurrence` finds it in the log."""
    of = HTTPStatus(status)
    return render(
        request, "refusal.html", status=status, title=of.phrase, number=int(of),
        detail=DEFAULTS.get(of, detail) if detail == of.phrase else detail,
        remedy=REMEDIES.get(of, "Go back and try something else."), occurrence=occurrence,
    )  # fmt: skip
