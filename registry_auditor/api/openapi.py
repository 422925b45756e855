"""The OpenAPI document: what FastAPI knows, and what it cannot know."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from registry_auditor.api.problems import MEDIA_TYPE
from registry_auditor.api.v1.shapes import Problem

ABOUT = """\
What was audited, what was found, and what people think of it.

Every list is `{items, next}`: pass `next` as `after` for the page after it. Times are RFC 3339. What goes wrong is
told as `application/problem+json`. A POST with an `Idempotency-Key` is done once, however often it arrives. A query
parameter that an operation does not have, or that is given twice, is refused. Every answer to a token tells in
`RateLimit` what is left of this minute.
"""
ALWAYS = {
    HTTPStatus.UNAUTHORIZED: "There is no good token.",
    HTTPStatus.FORBIDDEN: "The token is not good for that, or a page of another site asks.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request does not fit.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests: come back after `Retry-After` seconds.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database cannot be used now.",
}
WITH_ID = {HTTPStatus.NOT_FOUND: "There is none."}
WITH_BODY = {
    HTTPStatus.BAD_REQUEST: "The body cannot be read.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too long.",
}
WRITING = {HTTPStatus.CONFLICT: "It is not in a state for that."}


def install(app: FastAPI) -> None:
    """Afterwards `app` describes itself at /openapi.json and /api/v1/openapi.json."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # which is how FastAPI wants it to be extended
    routes = APIRouter(include_in_schema=False)

    @routes.get("/api/v1/openapi.json")
    def openapi() -> JSONResponse:
        """The same as /openapi.json."""
        return JSONResponse(app.openapi())

    app.include_router(routes)


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
    made["components"]["schemas"] |= _problem_schemas()
    for unused in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(unused, None)
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/api/"):
                operation["responses"] |= _problems(path, method, operation)
    made["paths"]["/health"]["get"]["responses"]["503"] = _problem("The database cannot be used.")
    return made


def _problems(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    statuses = dict(ALWAYS)
    if "{" in path or "audit" in path or "nearest" in path:
        statuses |= WITH_ID
    if "requestBody" in operation:
        statuses |= WITH_BODY
    if method in ("post", "delete"):
        statuses |= WRITING | WITH_BODY
    return {str(int(status)): _problem(said) for status, said in statuses.items()}


def _problem(said: str) -> dict[str, Any]:
    return {"description": said, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "Problem": schema}
