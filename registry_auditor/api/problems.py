"""Errors of the web application, all of one shape: `application/problem+json` of RFC 9457."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from registry_auditor.errors import StoreError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 30
"""When a sender may try again; long enough for a database to be restarted."""


def install(app: FastAPI) -> None:
    """Afterwards every error of `app` is answered as a problem."""

    def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, AnyHTTPException)
        return problem(error.status_code, error.detail, headers=dict(error.headers or {}))

    def misunderstood(_: Request, error: Exception) -> JSONResponse:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the request does not fit; see /openapi.json")

    def without_store(_: Request, error: Exception) -> JSONResponse:
        logger.error("%s", error)
        failed = unavailable()
        return problem(failed.status_code, failed.detail, headers=dict(failed.headers or {}))

    def failed(_: Request, error: Exception) -> JSONResponse:
        # The server that runs us logs it; its text may hold what is nobody's business.
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error, which the log of the server describes")

    app.add_exception_handler(AnyHTTPException, refused)
    app.add_exception_handler(RequestValidationError, misunderstood)
    app.add_exception_handler(StoreError, without_store)
    app.add_exception_handler(Exception, failed)


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that says what is wrong."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def unavailable() -> HTTPException:
    """What is raised where the database cannot be used: the sender is asked to try again."""
    # What is wrong with it is for the log: the answer goes to strangers.
    return HTTPException(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the database cannot be used now; nothing was taken, send it again later",
        {"retry-after": str(RETRY_AFTER_S)},
    )
