"""Audits: what was examined, how it ended, and asking for one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import ConfigDict, Field, FiniteFloat

from registry_auditor.api.admission import admitted
from registry_auditor.api.v1.etags import IfNoneMatch, tagged
from registry_auditor.api.v1.given import (
    READS,
    Filters,
    Glob,
    Id,
    Instant,
    Kept,
    Paging,
    Plain,
    Set,
    Submitter,
    answer,
    once,
)
from registry_auditor.api.v1.routing import routes_of
from registry_auditor.api.v1.shapes import Audit, Coverage, Items, Run, Sent, Shape
from registry_auditor.config import Settings
from registry_auditor.domain import AuditState, BaseSource, Job, ModelRef, Severity, Verdict
from registry_auditor.errors import UsageError
from registry_auditor.report import MEDIA_TYPES, SUFFIXES, ReportFormat, coverage, gather, records, render
from registry_auditor.report.baseline import baseline
from registry_auditor.report.records import Json
from registry_auditor.store import Store

routes = routes_of("audits")


class Only(Filters):
    """Which audits."""

    model: Glob = Field(None, serialization_alias="model_glob", examples=["hf:org/*"])
    base: Glob = Field(None, serialization_alias="base_glob", examples=["hf:org/base"])
    state: AuditState | None = None
    verdict: Verdict | None = None
    since: Instant | None = Field(None, description="Queued then or later.", examples=["2026-03-01T00:00:00Z"])
    until: Instant | None = Field(None, description="Queued before.")


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=Plain)]
Scalar = (
    bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | FiniteFloat | Annotated[str, Field(max_length=1000)] | None
)
Parameter = Scalar | Annotated[list[Scalar], Field(max_length=1000)]


class Wanted(Sent):
    """An audit that somebody asks for."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "hf:org/tuned", "base": "hf:org/base", "fail_on": "high"}]},
    )

    model: str = Field(max_length=1000, description="In a registry that the server watches.")
    base: str | None = Field(None, max_length=1000, description="By default what the model claims.")
    fail_on: Severity | None = Field(None, description="By default what the settings say.")
    analyzers: dict[Name, dict[Name, Parameter]] | None = Field(
        None, max_length=100, description="Names, each with parameters of its own; by default as the settings say."
    )


class Runs(Shape):
    """The runs of an audit."""

    items: list[Run]
    next: None = None


@routes.get("/audits", dependencies=READS, response_model=Items[Audit])
def list_audits(store: Kept, page: Paging, only: Annotated[Only, Query()]) -> Json:
    """Audits, newest first."""
    return answer(store.audits(**only.filters(), **page.place), records.audit)


@routes.post("/audits", response_model=Audit, status_code=HTTPStatus.ACCEPTED)
def submit_audit(store: Kept, settings: Set, by: Submitter, wanted: Wanted, response: Response) -> Json:
    """Ask for an audit. Of one that is not finished there is no second: everybody gets the same."""
    job = Job(
        model=_admitted(store, settings, "model", wanted.model),
        base=None if wanted.base is None else _admitted(store, settings, "base", wanted.base),
        base_source=None if wanted.base is None else BaseSource.OPERATOR,
        fail_on=wanted.fail_on or settings.fail_on,
        wish=wanted.analyzers,
    )
    audit = once(store, by, response, lambda: store.requests.submit(job, by=by))
    response.headers["location"] = f"/api/v1/audits/{audit.id}"
    return records.audit(audit)


@routes.get("/audits/{audit_id}", dependencies=READS, response_model=Audit)
def get_audit(store: Kept, audit_id: Id) -> Json:
    """One audit, by its id or the first characters of it."""
    return records.audit(store.audit(audit_id))


@routes.get("/audits/{audit_id}/runs", dependencies=READS, response_model=Runs)
def list_runs(store: Kept, audit_id: Id) -> Json:
    """The latest run of every step of an audit, in the order of its plan."""
    return records.listing([records.run(each) for each in store.runs(audit_id)], None)


@routes.get("/audits/{audit_id}/coverage", dependencies=READS, response_model=Coverage)
def get_coverage(store: Kept, audit_id: Id) -> Json:
    """What the runs of an audit together looked at, and what they did not."""
    return records.coverage(coverage(store.runs(audit_id)))


REPORT: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}, "description": "The report."},
    304: {"description": "It is what the client has."},
}
Before = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=64,
        pattern=Plain,
        description="An earlier audit of the same model: SARIF then tells what is new, and what is gone.",
    ),
]
SHUT_IN = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
"""What a browser may do for a report, which brings its styles along: show it."""


@routes.get("/audits/{audit_id}/report", dependencies=READS, response_class=Response, responses=REPORT)
def get_report(
    store: Kept,
    audit_id: Id,
    form: Annotated[ReportFormat, Query(alias="format")] = ReportFormat.JSON,
    before: Before = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """An audit with all that it found: as JSON, Markdown, HTML, SARIF 2.1.0 or CycloneDX."""
    if before is not None and form is not ReportFormat.SARIF:
        raise UsageError(f"before: goes with format=sarif, which compares audits; not with {form}")
    document = gather(store, audit_id)
    compared = None if before is None else baseline(store, before, document)
    text = render(document, form, store.analyzers.list(), before=compared)
    name = f"audit-{document.audit.id}{SUFFIXES[form]}"
    headers = {"content-disposition": f'inline; filename="{name}"', "content-security-policy": SHUT_IN}
    return tagged(text.encode(), if_none_match, media_type=MEDIA_TYPES[form], headers=headers)


@routes.post("/audits/{audit_id}:cancel", response_model=Audit)
def cancel_audit(store: Kept, by: Submitter, audit_id: Id, response: Response) -> Json:
    """Take back an audit that is not done; what its runs have found stays."""
    return records.audit(once(store, by, response, lambda: store.requests.cancel(audit_id, by=by)))


def _admitted(store: Store, settings: Settings, field: str, name: str) -> ModelRef:
    try:
        return admitted(store, settings, name)
    except UsageError as error:
        raise UsageError(f"{field}: {error}") from None
