"""One audit as its page and its HTML report show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registry_auditor.domain import Audit, Coverage, ModelRef
from registry_auditor.report.document import Report
from registry_auditor.report.figures import Figure, heat_maps, spectra
from registry_auditor.report.rendering import prompts
from registry_auditor.store import StoredDirection, StoredFinding, StoredRun
from registry_auditor.store.catalogue import model_id
from registry_auditor.store.directions import Strength


@dataclass(frozen=True)
class AuditView:
    """What the template reads."""

    audit: Audit
    runs: tuple[StoredRun, ...]
    findings: tuple[StoredFinding, ...]
    """Worst first; those that count before those that people have set aside."""
    set_aside: int
    heat_maps: list[Figure]
    spectra: list[Figure]
    directions: tuple[StoredDirection, ...]
    direction_count: int
    prompted: tuple[StoredFinding, ...]
    """Findings with extremal prompts."""
    coverage: Coverage
    model_page: str
    base_page: str | None


def view(document: Report, strengths: Iterable[Strength]) -> AuditView:
    """`document` with the spectra of `strengths`."""
    found = document.found
    job = document.audit.job
    return AuditView(
        audit=document.audit,
        runs=document.runs,
        findings=tuple(found),
        set_aside=sum(not each.standing.counts for each in found),
        heat_maps=heat_maps(each.finding for each in found),
        spectra=spectra(strengths),
        directions=document.directions,
        direction_count=max((bank.directions for bank in document.banks), default=0),
        prompted=tuple(each for each in found if prompts(each.finding.evidence)),
        coverage=document.coverage,
        model_page=page_of(job.model),
        base_page=page_of(job.base) if job.base else None,
    )


def page_of(ref: ModelRef) -> str:
    """The address of a registry entry."""
    return f"/models/{model_id(ref)}"
