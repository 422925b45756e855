"""Audits: all of them, one of them, and two of them side by side."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from registry_auditor.api.pages.visit import Blank, Glob, Here, Text
from registry_auditor.domain import AuditState, Verdict
from registry_auditor.report import SUFFIXES, gather, words
from registry_auditor.report.compare import compare
from registry_auditor.report.view import view

pages = APIRouter(include_in_schema=False)
CHOICE = 50
"""Audits to choose from; a filter brings others."""
FORMATS = ("html", "json", "markdown", "sarif", "cyclonedx")


@pages.get("/audits")
def audits(
    visit: Here,
    after: Text = None,
    model: Glob = None,
    base: Glob = None,
    state: Annotated[AuditState | None, Blank] = None,
    verdict: Annotated[Verdict | None, Blank] = None,
) -> HTMLResponse:
    """All audits, newest first."""
    found = visit.store.audits(after=after, model_glob=model, base_glob=base, state=state, verdict=verdict)
    return visit.page("audits.html", "Audits", found=found, states=list(AuditState), verdicts=list(Verdict))


@pages.get("/audits/{audit}")
def audit(visit: Here, audit: str) -> HTMLResponse:
    """One audit with everything it found."""
    document = gather(visit.store, audit)
    shown = view(document, visit.store.directions.strengths(document.audit.id))
    title = f"Audit of {words.model(document.audit.job.model)}"
    crumbs = (("/audits", "Audits"),)
    files: dict[str, Any] = {"banks": document.banks, "suffixes": SUFFIXES, "formats": FORMATS}
    return visit.page("audit.html", title, crumbs=crumbs, view=shown, **files)


@pages.get("/compare")
def comparison(visit: Here, before: Text = None, after: Text = None, model: Glob = None) -> HTMLResponse:
    """What changed between two audits, or a form that asks for them; with one, for another of the same model."""
    store, crumbs = visit.store, (("/audits", "Audits"),)
    if before is None or after is None:
        one = store.audit(before or after or "") if before or after else None
        if one is not None and model is None:
            model = f"{one.job.model.registry}:{one.job.model.name}@*"
        latest = store.audits(state=AuditState.DONE, model_glob=model, limit=CHOICE).items
        title = "Compare two audits"
        return visit.page("compare_form.html", title, crumbs=crumbs, latest=latest, one=one, most=CHOICE)
    found = compare(store, before, after)
    return visit.page("compare.html", "Comparison of two audits", crumbs=crumbs, it=found)
