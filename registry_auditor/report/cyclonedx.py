"""A report as a CycloneDX 1.6 ML-BOM: the model with its base as ancestor, its findings as vulnerabilities.

1.6 is what consumers read; nothing here needs more. There is no `modelCard`: the library cannot write one, and an
audit knows nothing of what a card says.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.impact_analysis import ImpactAnalysisJustification, ImpactAnalysisState
from cyclonedx.model.tool import ToolRepository
from cyclonedx.model.vulnerability import (
    BomTarget,
    Vulnerability,
    VulnerabilityAnalysis,
    VulnerabilityRating,
    VulnerabilityScoreSource,
    VulnerabilitySeverity,
    VulnerabilitySource,
)
from cyclonedx.output.json import JsonV1Dot6

from registry_auditor.domain import ModelRef, Opinion, Suppression, TriageState, digest_of
from registry_auditor.report.document import Report
from registry_auditor.report.identity import digest_of_base, digest_of_model, package_url, sha256
from registry_auditor.report.taxonomies import cwes, references
from registry_auditor.report.visible import visible
from registry_auditor.store import StoredFinding

Json = dict[str, Any]
PREFIX = "registry-auditor:"
"""Of our properties."""


def cyclonedx(document: Report) -> Json:
    """The report as a BOM; equal for the same audit, as long as nobody says anything else about its findings."""
    model = _model(document)
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, _state_of(document)),
        metadata=BomMetaData(
            timestamp=document.audit.finished_at or document.audit.queued_at,
            component=model,
            tools=ToolRepository(components=_tools(document)),
            properties=_properties(_about(document)),
        ),
        vulnerabilities=[_vulnerability(each, str(model.bom_ref.value)) for each in document.found],
    )
    written: Json = json.loads(JsonV1Dot6(bom).output_as_string())
    return written


def _state_of(document: Report) -> str:
    """What tells two documents about one audit apart: another opinion makes another BOM."""
    said = [(each.id, each.standing.opinion, each.standing.suppression) for each in document.found]
    standings = [[id_, opinion and opinion.id, rule and rule.id] for id_, opinion, rule in said]
    return f"registry-auditor/{document.audit.id}/{digest_of([document.audit.verdict, standings])}"


def _model(document: Report) -> Component:
    job = document.audit.job
    pedigree = None
    if job.base is not None:
        # A model may have been held against itself, and a reference must stay one of its own.
        base = _component(job.base, digest_of_base(document.audit), prefix="base/")
        pedigree = Pedigree(ancestors=[base], notes=f"The base is named by the {job.base_source}.")
    return _component(job.model, digest_of_model(document.audit), pedigree=pedigree)


def _component(ref: ModelRef, digest: str | None, *, pedigree: Pedigree | None = None, prefix: str = "") -> Component:
    hexadecimal = sha256(digest)
    group, _, name = ref.name.rpartition("/")
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=prefix + str(ref),
        group=visible(group) or None,
        name=visible(name),
        version=ref.revision,
        purl=package_url(ref),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hexadecimal)] if hexadecimal else (),
        properties=_properties([("digest", digest)]),
        pedigree=pedigree,
    )


def _tools(document: Report) -> Iterator[Component]:
    release = version("registry-auditor")
    yield Component(
        type=ComponentType.APPLICATION, name="registry-auditor", version=release, bom_ref="registry-auditor"
    )
    for step in dict.fromkeys((stored.run.step.analyzer, stored.run.step.version) for stored in document.runs):
        name, number = step
        yield Component(
            type=ComponentType.APPLICATION, group="registry-auditor", name=name, version=str(number),
            bom_ref=f"registry-auditor/{name}@{number}",
        )  # fmt: skip


def _about(document: Report) -> Iterator[tuple[str, object]]:
    audit, coverage = document.audit, document.coverage
    yield "audit", audit.id
    yield "verdict", audit.verdict
    yield "reason", audit.reason
    yield "fail-on", audit.job.fail_on
    yield "base-source", audit.job.base_source
    yield "coverage:seen", coverage.seen
    yield "coverage:gaps", len(coverage.skipped)
    for stored in document.runs:
        run = stored.run
        yield f"run:{run.step.analyzer}", f"{run.status}" + (f": {run.reason}" if run.reason else "")


def _vulnerability(each: StoredFinding, model: str) -> Vulnerability:
    finding, standing = each.finding, each.standing
    linked = references(finding.code, finding.taxonomies)
    rating = VulnerabilityRating(
        source=VulnerabilitySource(name=each.analyzer),
        severity=VulnerabilitySeverity(finding.severity.value),
        method=VulnerabilityScoreSource.OTHER,
    )
    return Vulnerability(
        bom_ref=each.id,
        id=finding.code,
        source=VulnerabilitySource(name="registry-auditor"),
        ratings=[rating],
        cwes=cwes(linked),
        description=visible(finding.message),
        created=each.created_at,
        updated=standing.opinion.at if standing.opinion else None,
        analysis=_analysis(standing.opinion) if standing.opinion else None,
        affects=[BomTarget(ref=model)],
        properties=_properties(
            [
                ("fingerprint", each.fingerprint),
                ("analyzer", each.analyzer),
                ("score", finding.score),
                ("threshold", finding.threshold),
                ("fpr", finding.fpr),
                ("tensor", finding.site and finding.site.tensor),
                *(("taxonomy", f"{ref.scheme} {ref.version} {ref.id}") for ref in linked),
                *(_suppressed(standing.suppression) if standing.suppression else ()),
            ]
        ),
    )


def _analysis(opinion: Opinion) -> VulnerabilityAnalysis | None:
    triage = opinion.triage
    if triage.state is TriageState.NOT_SET:
        return None
    return VulnerabilityAnalysis(
        state=ImpactAnalysisState(triage.state.value),
        justification=ImpactAnalysisJustification(triage.justification.value) if triage.justification else None,
        detail=visible(triage.comment) if triage.comment else None,
        last_updated=opinion.at,
    )


def _suppressed(rule: Suppression) -> Iterator[tuple[str, object]]:
    yield "suppression", rule.id
    yield "suppression:reason", rule.reason
    yield "suppression:by", rule.by
    yield "suppression:expires", rule.expires_at.isoformat()


def _properties(pairs: Iterable[tuple[str, object]]) -> list[Property]:
    """Our properties; those without a value are left out."""
    return [Property(name=PREFIX + name, value=visible(str(value))) for name, value in pairs if value is not None]
