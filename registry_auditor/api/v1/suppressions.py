"""Suppressions: rules that take findings out of verdicts and gates."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Response
from pydantic import ConfigDict, Field

from registry_auditor.api.v1.given import MODEL_GLOB, READS, Id, Instant, Kept, Paging, Plain, Triager, answer, once
from registry_auditor.api.v1.routing import routes_of
from registry_auditor.api.v1.shapes import Items, Sent, Suppression
from registry_auditor.report import records
from registry_auditor.report.records import Json

routes = routes_of("suppressions")


class Rule(Sent):
    """A new rule; every pattern that it has must fit."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "svd-diff/*",
                    "model": "hf:org/*",
                    "reason": "adapters of rank one are our product",
                    "owner": "alice",
                    "expires_at": "2026-12-31T00:00:00Z",
                }
            ]
        },
    )

    code: str | None = Field(None, max_length=200, pattern=MODEL_GLOB, examples=["svd-diff/*"])
    model: str | None = Field(None, max_length=200, pattern=MODEL_GLOB, examples=["hf:org/*"])
    fingerprint: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    reason: str = Field(min_length=1, max_length=10_000, pattern=Plain)
    owner: str | None = Field(None, max_length=200, pattern=Plain)
    expires_at: Instant = Field(description="At most 180 days ahead.")


@routes.get("/suppressions", dependencies=READS, response_model=Items[Suppression])
def list_suppressions(store: Kept, page: Paging, active: bool | None = None) -> Json:
    """Rules, newest first; only those that hold now, or only the others."""
    return answer(store.suppressions.list(active=active, **page.place), records.suppression)


@routes.post("/suppressions", response_model=Suppression, status_code=HTTPStatus.CREATED)
def add_suppression(store: Kept, by: Triager, rule: Rule, response: Response) -> Json:
    """Add a rule. It takes findings out of the verdicts of later audits."""
    added = once(store, by, response, lambda: store.suppressions.add(by=by, **dict(rule)))
    response.headers["location"] = f"/api/v1/suppressions/{added.id}"
    return records.suppression(added)


@routes.get("/suppressions/{suppression_id}", dependencies=READS, response_model=Suppression)
def get_suppression(store: Kept, suppression_id: Id) -> Json:
    """One rule."""
    return records.suppression(store.suppressions.get(suppression_id))


@routes.delete("/suppressions/{suppression_id}", response_model=Suppression)
def end_suppression(store: Kept, by: Triager, suppression_id: Id, response: Response) -> Json:
    """End a rule; its record stays."""
    return records.suppression(once(store, by, response, lambda: store.suppressions.end(suppression_id, by=by)))
