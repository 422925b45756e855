"""Findings, what happened to them, and what people say about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response
from pydantic import ConfigDict, Field

from registry_auditor.api.v1.given import (
    READS,
    AuditId,
    Filters,
    Glob,
    Id,
    Instant,
    Kept,
    Paging,
    Plain,
    Triager,
    answer,
    once,
)
from registry_auditor.api.v1.routing import routes_of
from registry_auditor.api.v1.shapes import Finding, Items, Moment, Opinion, Reference, Sent, Shape, Suppression
from registry_auditor.domain import EventKind, FindingOrder, Justification, Severity, Triage, TriageState
from registry_auditor.report import answers, records
from registry_auditor.report.records import Json

routes = routes_of("findings")


class Only(Filters):
    """Which findings."""

    audit: AuditId = Field(None, serialization_alias="audit_id")
    model: Glob = Field(None, serialization_alias="model_glob", examples=["hf:org/*"])
    base: Glob = Field(None, serialization_alias="base_glob", examples=["hf:org/base"])
    severity: Severity | None = Field(None, description="At least this one.")
    code: Glob = Field(None, examples=["svd-diff/*"])
    analyzer: str | None = Field(None, min_length=1, max_length=200, pattern=Plain, examples=["svd-diff"])
    state: TriageState | None = None
    counts: bool | None = Field(None, description="Whether it counts for verdicts and gates.")
    since: Instant | None = Field(None, description="Found then or later.", examples=["2026-03-01T00:00:00Z"])
    until: Instant | None = Field(None, description="Found before.")
    fpr: float | None = Field(
        None, ge=0, le=1, serialization_alias="max_fpr", description="Measured, and not above this one."
    )
    calibrated: bool | None = Field(None, description="Whether its false-positive rate was measured.")
    text: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=Plain,
        description="Words, all of which its message has.",
        examples=["rank one"],
    )
    fingerprint: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    sort: FindingOrder | None = Field(None, description="The newest first unless told.")


class Event(Shape):
    """One step in the life of a finding."""

    at: Moment
    kind: EventKind
    by: str | None = Field(description="Who did it; null for what audits and the clock do.")
    audit: str | None
    model: Reference | None
    triage: Opinion | None
    suppression: Suppression | None


class Events(Shape):
    """The life of a finding, oldest first."""

    items: list[Event]
    next: None = None


class Said(Sent):
    """What somebody says about a finding."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "state": "false_positive",
                    "comment": "the update is the merge of two public adapters",
                    "owner": "alice",
                    "expires_at": "2027-01-31T00:00:00Z",
                }
            ]
        },
    )

    state: TriageState
    justification: Justification | None = Field(None, description="Required for `not_affected`, and for nothing else.")
    owner: str | None = Field(None, max_length=200, pattern=Plain)
    comment: str | None = Field(None, max_length=10_000, pattern=Plain, description="Required for `false_positive`.")
    expires_at: Instant | None = Field(None, description="From then on the finding counts as `not_set` again.")


@routes.get("/findings", dependencies=READS, response_model=Items[Finding])
def list_findings(store: Kept, page: Paging, only: Annotated[Only, Query()]) -> Json:
    """Findings, of whichever audit shows them; newest first unless `sort` says otherwise."""
    return answer(store.findings(**only.filters(), **page.place), records.stored_finding)


@routes.get("/findings/{finding_id}", dependencies=READS, response_model=Finding)
def get_finding(store: Kept, finding_id: Id) -> Json:
    """One finding, by its id or the first characters of it."""
    return records.stored_finding(store.finding(finding_id))


@routes.get("/findings/{finding_id}/events", dependencies=READS, response_model=Events)
def list_finding_events(store: Kept, finding_id: Id) -> Json:
    """The life of a finding, oldest first."""
    return records.listing([answers.event(each) for each in store.triage.events(finding_id)], None)


@routes.post("/findings/{finding_id}/triage", response_model=Finding)
def triage_finding(store: Kept, by: Triager, finding_id: Id, said: Said, response: Response) -> Json:
    """Say what is thought of a finding; it holds for the same finding in every revision of its model."""
    triage = Triage(**dict(said))
    once(store, by, response, lambda: store.triage.set(finding_id, triage, by=by))
    return records.stored_finding(store.finding(finding_id))
