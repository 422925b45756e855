"""Errors of the web application, all of one shape: `application/problem+json` of RFC 9457."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from registry_auditor.api.headers import complete
from registry_auditor.errors import Conflict, NotFound, StoreError, UsageError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
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


def install(app: FastAPI) -> None:
    """Afterwards every error of `app` is answered as a problem."""

    def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, AnyHTTPException)
        return problem(error.status_code, error.detail, headers=dict(error.headers or {}))

    def misunderstood(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        faults = [_fault(each) for each in error.errors()[:SHOWN]]
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the request does not fit; see /openapi.json", errors=faults)

    def without_store(_: Request, error: Exception) -> JSONResponse:
        logger.error("%s", error)
        failed = unavailable()
        return problem(failed.status_code, failed.detail, headers=dict(failed.headers or {}))

    def failed(_: Request, error: Exception) -> JSONResponse:
        # The server that runs us logs it; its text may hold what is nobody's business.
        answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error, which the log of the server describes")
        complete(answer.headers)  # it is made outside of what completes all others
        return answer

    def mistaken(_: Request, error: Exception) -> JSONResponse:
        return problem(next(status for kind, status in STATUSES.items() if isinstance(error, kind)), str(error))

    app.add_exception_handler(AnyHTTPException, refused)
    app.add_exception_handler(RequestValidationError, misunderstood)
    app.add_exception_handler(StoreError, without_store)
    app.add_exception_handler(UsageError, mistaken)
    app.add_exception_handler(Exception, failed)


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """An answer that says what is wrong."""
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
