"""`/`: what waits, how the latest audits ended, the worst that counts, and where nobody looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from registry_auditor.api.pages.visit import Here
from registry_auditor.domain import Audit, AuditState, FindingOrder, Severity, Verdict
from registry_auditor.store import Backlog, Sighting, Store, StoredFinding

pages = APIRouter(include_in_schema=False)
SHOWN = 8


@dataclass(frozen=True)
class Overview:
    """How everything stands at one moment."""

    backlog: tuple[Backlog, ...]
    at_work: tuple[Audit, ...]
    latest: tuple[Audit, ...]
    verdicts: Mapping[Verdict, int]
    severities: Mapping[Severity, int]
    worst: tuple[StoredFinding, ...]
    incomplete: tuple[Audit, ...]
    skipped: tuple[Sighting, ...]


def read(store: Store) -> Overview:
    """The overview; a fixed number of statements."""
    at_work = store.audits(state=AuditState.RUNNING, limit=SHOWN).items
    queued = store.audits(state=AuditState.QUEUED, limit=SHOWN).items if len(at_work) < SHOWN else ()
    return Overview(
        backlog=tuple(store.backlog()),
        at_work=(at_work + queued)[:SHOWN],
        latest=store.audits(state=AuditState.DONE, limit=SHOWN).items,
        verdicts=store.models.verdicts(),
        severities=store.models.severities(),
        worst=worst(store, limit=SHOWN),
        incomplete=store.audits(verdict=Verdict.INCOMPLETE, limit=SHOWN).items,
        skipped=store.sightings.list(skipped=True, limit=SHOWN).items,
    )


def worst(store: Store, *, limit: int) -> tuple[StoredFinding, ...]:
    """The worst findings that count."""
    return store.findings(sort=FindingOrder.SEVERITY, counts=True, severity=Severity.LOW, limit=limit).items


@pages.get("/")
def overview(visit: Here) -> HTMLResponse:
    """The first page; what it shows is a few seconds old at most."""
    return visit.page("overview.html", "Overview", now=visit.request.app.state.overview())
