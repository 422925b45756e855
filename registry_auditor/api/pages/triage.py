"""`/triage`: what nobody has said anything about, worst first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from registry_auditor.api.pages.visit import Blank, Glob, Here, Text
from registry_auditor.domain import FindingOrder, Severity, TriageState

pages = APIRouter(include_in_schema=False)


@pages.get("/triage")
def queue(
    visit: Here, after: Text = None, model: Glob = None, severity: Annotated[Severity | None, Blank] = None
) -> HTMLResponse:
    """The queue; what is only said for information needs no opinion, unless somebody asks for it."""
    found = visit.store.findings(
        after=after,
        model_glob=model,
        severity=severity or Severity.LOW,
        state=TriageState.NOT_SET,
        counts=True,
        sort=FindingOrder.SEVERITY,
    )
    return visit.page("triage.html", "Triage", found=found, severities=list(Severity))
