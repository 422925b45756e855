"""Findings: all of them, and one with its evidence, its life and the form for what one thinks of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from registry_auditor.api.pages.visit import PLAIN, Blank, Glob, Here, Text, Visit, to
from registry_auditor.domain import FindingOrder, Justification, Scope, Severity, Triage, TriageState
from registry_auditor.errors import NotFound, UsageError
from registry_auditor.store import StoredDirection

pages = APIRouter(include_in_schema=False)
Name = Annotated[Annotated[str, Field(max_length=200, pattern=PLAIN)] | None, Blank]
Comment = Annotated[Annotated[str, Field(max_length=4000, pattern=PLAIN)] | None, Blank]


ORDERS = {
    FindingOrder.NEWEST: "newest first",
    FindingOrder.SEVERITY: "most severe first",
    FindingOrder.SCORE: "largest score first",
    FindingOrder.FPR: "most certain first",
}


class Wanted(BaseModel):
    """Which findings to list."""

    after: Text = None
    severity: Annotated[Severity | None, Blank] = None
    state: Annotated[TriageState | None, Blank] = None
    code: Glob = None
    model: Glob = None
    base: Glob = None
    text: Text = None
    measured: Annotated[bool | None, Blank] = None
    sort: Annotated[FindingOrder | None, Blank] = None


class Said(BaseModel):
    """What the form of triage holds."""

    state: TriageState
    justification: Annotated[Justification | None, Blank] = None
    owner: Name = None
    comment: Comment = None
    until: Annotated[date | None, Blank] = None

    def triage(self) -> Triage:
        """It holds until that day begins."""
        expires_at = None if self.until is None else datetime.combine(self.until, time(), UTC)
        return Triage(self.state, self.justification, self.owner, self.comment, expires_at)


@pages.get("/findings")
def findings(visit: Here, wanted: Annotated[Wanted, Query()]) -> HTMLResponse:
    """All findings that fit."""
    found = visit.store.findings(
        after=wanted.after,
        severity=wanted.severity,
        state=wanted.state,
        code=wanted.code,
        model_glob=wanted.model,
        base_glob=wanted.base,
        text=wanted.text,
        calibrated=wanted.measured,
        sort=wanted.sort,
    )
    return visit.page(
        "findings.html", "Findings", found=found, severities=list(Severity), states=list(TriageState), orders=ORDERS,
        order=wanted.sort or FindingOrder.NEWEST,
    )  # fmt: skip


@pages.get("/findings/{finding}")
def finding(visit: Here, finding: str) -> HTMLResponse:
    """One finding."""
    return _finding(visit, finding)


@pages.post("/findings/{finding}/triage")
def triage(visit: Here, finding: str, form: Annotated[Said, Form()]) -> Response:
    """Afterwards this is what holds for the finding; whoever gave too little is asked again."""
    author, said = visit.must(Scope.TRIAGE).author(), form.triage()
    try:
        visit.store.triage.set(finding, said, by=author)
    except NotFound:
        raise
    except UsageError as error:
        return _finding(visit, finding, said=said, problem=str(error))
    return to(f"/findings/{finding}#triage")


def _finding(visit: Visit, finding: str, *, said: Triage | None = None, problem: str | None = None) -> HTMLResponse:
    store = visit.store
    found = store.finding(finding)
    opinion, site = found.standing.opinion, found.finding.site
    learnt: tuple[StoredDirection, ...] = ()
    if site is not None and not set(site.tensor) & set("*?"):  # a name of a stranger is no pattern
        learnt = store.directions.list(audit_id=found.audit, tensor=site.tensor, rank=0, limit=1).items
    return visit.page(
        "finding.html",
        f"{found.finding.code} in {found.model.registry}:{found.model.name}",
        crumbs=(("/findings", "Findings"),),
        status=HTTPStatus.OK if problem is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        it=found,
        direction=next(iter(learnt), None),
        events=store.triage.events(found.id),
        said=said or (opinion.triage if opinion else None),
        problem=problem,
        states=list(TriageState),
        justifications=list(Justification),
        today=datetime.now(UTC).date(),
    )
