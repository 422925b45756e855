"""Errors of the web application: a page where a browser would show it, else `application/problem+json` of RFC 9457."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from registry_auditor.api.headers import complete
from registry_auditor.errors import Conflict, NotFound, StoreError, UsageError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
FOR_PROGRAMS = ("/api/", "/hooks/", "/health", "/metrics", "/openapi.json", "/static/")
"""What lies there is no page, whoever asks for it."""
RETRY_AFTER_S = 30
"""When a sender may try again; long enough for a database to be restarted."""
SHOWN = 20
"""Faults of one request that are listed."""
NAME_CHARACTERS = 100
"""Of a field: it may be an unknown one, of any length."""

STATUSES: dict[type[UsageError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    UsageError: HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""What the product says no to, by why."""

Headers = Mapping[str, str]
PageOf = Callable[[Request, int, str, str | None], Response]
"""Makes a page of a status, what is wrong, and what names this one occurrence of it in the log."""


def install(app: FastAPI) -> None:
    """Afterwards every error of `app` is answered as `answer` does."""
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(StoreError, _without_store)
    app.add_exception_handler(UsageError, _mistaken)
    app.add_exception_handler(Exception, _failed)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    if error.status_code < HTTPStatus.BAD_REQUEST:  # go elsewhere, to sign in for instance
        return Response(status_code=error.status_code, headers=error.headers)
    return answer(request, error.status_code, error.detail, headers=error.headers)


def _misunderstood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [_fault(each) for each in error.errors()[:SHOWN]]
    detail = "the request does not fit; see /openapi.json"
    if is_for_people(request):
        told = (f"{fault['field'].partition('.')[2]}: {fault['problem']}" for fault in faults)
        detail = f"what was given does not fit: {'; '.join(told)}"
    return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=faults)


def _without_store(request: Request, error: Exception) -> Response:
    logger.error("%s", error)
    failed = unavailable()
    return answer(request, failed.status_code, failed.detail, headers=failed.headers)


def _mistaken(request: Request, error: Exception) -> Response:
    return answer(request, next(status for kind, status in STATUSES.items() if isinstance(error, kind)), str(error))


def _failed(request: Request, _: Exception) -> Response:
    # The server that runs us logs the error; its text may hold what is nobody's business.
    occurrence = uuid.uuid4().urn
    logger.error("%s %r failed unexpectedly: %s", request.method, request.url.path, occurrence)
    detail = "an unexpected error, which the log of the server describes"
    made = answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, occurrence=occurrence)
    complete(made.headers)  # it is made outside of what completes all others
    return made


def answer(
    request: Request,
    status: int,
    detail: str,
    *,
    headers: Headers | None = None,
    occurrence: str | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    """What is wrong with `request`: as a page if `app.state.page_of_problem` can make one and a person will read it."""
    page_of: PageOf | None = getattr(request.app.state, "page_of_problem", None)
    if page_of is None or not is_for_people(request):
        more = {"instance": occurrence, "errors": errors}
        return problem(status, detail, headers=headers, **{name: value for name, value in more.items() if value})
    page = page_of(request, status, detail, occurrence)
    page.headers.update(headers or {})
    return page


def is_for_people(request: Request) -> bool:
    """Whether a browser asks for a page."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(FOR_PROGRAMS)


def problem(status: int, detail: str, *, headers: Headers | None = None, **more: Any) -> JSONResponse:
    """An answer that says to a program what is wrong."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}
    return JSONResponse(body | more, status, headers, media_type=MEDIA_TYPE)


def unavailable() -> HTTPException:
    """What is raised where the database cannot be used: the sender is asked to try again."""
    # What is wrong with it is for the log: the answer goes to strangers.
    return HTTPException(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the database cannot be used now; nothing was taken, send it again later",
        {"retry-after": str(RETRY_AFTER_S)},
    )


def _fault(error: Any) -> dict[str, str]:
    """Where a request does not fit, and why; not what stands there, which may be a secret."""
    field = ".".join(str(part)[:NAME_CHARACTERS] for part in error["loc"])
    return {"field": field, "problem": str(error["msg"])}
