"""Findings: all of them, and one with its evidence, its life and the form for what one thinks of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response

from registry_auditor.api.pages.site import PageRoute
from registry_auditor.api.pages.visit import Blank, Here, Text, Visit, to
from registry_auditor.domain import Severity
from registry_auditor.errors import NotFound, UsageError
from registry_auditor.store.access import Scope
from registry_auditor.store.opinions import Justification, Triage, TriageState

pages = APIRouter(route_class=PageRoute, include_in_schema=False)
LONGEST_COMMENT = 4000
LONGEST_NAME = 200


@pages.get("/findings")
def findings(
    visit: Here,
    after: Text = None,
    severity: Annotated[Severity | None, Blank] = None,
    state: Annotated[TriageState | None, Blank] = None,
    code: Text = None,
    model: Text = None,
    text: Text = None,
) -> HTMLResponse:
    """All findings that fit, newest first."""
    found = visit.store.findings(
        after=after, severity=severity, state=state, code=code, model_glob=model, text=text
    )
    return visit.page("findings.html", "Findings", found=found, severities=list(Severity), states=list(TriageState))


@pages.get("/findings/{finding}")
def finding(visit: Here, finding: str) -> HTMLResponse:
    """One finding."""
    return _finding(visit, finding)


@pages.post("/findings/{finding}/triage")
def triage(
    visit: Here,
    finding: str,
    state: Annotated[TriageState, Form()],
    justification: Annotated[Justification | None, Blank, Form()] = None,
    owner: Annotated[Text, Form(max_length=LONGEST_NAME)] = None,
    comment: Annotated[Text, Form(max_length=LONGEST_COMMENT)] = None,
    until: Annotated[date | None, Blank, Form()] = None,
) -> Response:
    """Afterwards this is what holds for the finding; whoever gave too little is asked again."""
    author = visit.must(Scope.TRIAGE).author()
    expires_at = None if until is None else datetime.combine(until, time(), UTC)
    said = Triage(state, justification, owner, comment, expires_at)
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
    opinion = found.standing.opinion
    return visit.page(
        "finding.html",
        f"{found.finding.code} in {found.model.registry}:{found.model.name}",
        crumbs=(("/findings", "Findings"),),
        status=HTTPStatus.OK if problem is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        it=found,
        events=store.triage.events(found.id),
        said=said or (opinion.triage if opinion else None),
        problem=problem,
        states=list(TriageState),
        justifications=list(Justification),
        today=datetime.now(UTC).date(),
    )
