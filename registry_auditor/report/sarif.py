"""A report as SARIF 2.1.0: one run, a rule for every code, a result for every finding.

Alerts are matched between scans by place and fingerprint: the place is the model without its revision, and in the
fingerprint there is no message, severity or version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from registry_auditor.domain import ModelRef, Site, Standing, Taxonomy, TriageState
from registry_auditor.report.baseline import Placed, placed
from registry_auditor.report.document import Report
from registry_auditor.report.identity import digest_of_base, digest_of_model, sha256
from registry_auditor.report.sarif_invocation import NOTIFICATIONS, invocation, literal
from registry_auditor.report.sarif_rules import LEVELS, SECURITY_SEVERITY, Catalogues, described, rules
from registry_auditor.report.taxonomies import references
from registry_auditor.report.visible import visible
from registry_auditor.store import StoredFinding
from registry_auditor.store.catalogue import AnalyzerInfo

Json = dict[str, Any]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MAX_RESULTS = 25_000
"""More of them, and GitHub refuses the file."""
MAX_DEPTH, MAX_ITEMS, MAX_STRING = 6, 40, 500
"""How much evidence a result carries; the JSON report has all of it."""


def sarif(document: Report, analyzers: Sequence[AnalyzerInfo], *, before: Report | None = None) -> Json:
    """The report as a SARIF log.

    With the audit `before` of the same model, every result says whether it is new, and results that are gone are
    listed as absent, as far as the analyzer that made them has finished this time.
    """
    every = placed(document, before)
    catalogues = Catalogues.of([ref for each in every for ref in _references(each.found)])
    ruled = rules([each.found for each in every], [stored.run.step for stored in document.runs], analyzers, catalogues)
    index = {rule["id"]: number for number, rule in enumerate(ruled)}
    uri = _uri(document.audit.job.model)
    results = [
        {
            **_result(each, catalogues),
            "ruleIndex": index[each.found.finding.code],
            "locations": [_location(each.found, uri)],
        }
        for each in every
    ]
    run = {
        "tool": {"driver": _driver(ruled, catalogues)},
        "automationDetails": {"id": f"registry-auditor/{_entry(document.audit.job.model)}/{document.audit.id}"},
        "invocations": [invocation(document, left_out=len(results) - MAX_RESULTS)],
        "artifacts": [_artifact(document)],
        "taxonomies": catalogues.components(),
        "results": results[:MAX_RESULTS],
        "properties": _about(document),
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _driver(ruled: list[Json], catalogues: Catalogues) -> Json:
    release = version("registry-auditor")
    return {
        "name": "Registry Auditor",
        "version": release,
        "semanticVersion": release,
        "supportedTaxonomies": catalogues.supported(),
        "notifications": [described(id_, text) for id_, text in NOTIFICATIONS.items()],
        "rules": ruled,
    }


def _artifact(document: Report) -> Json:
    hexadecimal = sha256(digest_of_model(document.audit))
    return {
        "location": {"uri": _uri(document.audit.job.model)},
        "description": {"text": literal(str(document.audit.job.model))},
        "roles": ["analysisTarget"],
        **({"hashes": {"sha-256": hexadecimal}} if hexadecimal else {}),
    }


def _about(document: Report) -> Json:
    audit = document.audit
    base = None if audit.job.base is None else {
        "ref": str(audit.job.base),
        "digest": digest_of_base(audit),
        "source": audit.job.base_source,
    }  # fmt: skip
    return {
        "audit": audit.id,
        "model": {"ref": str(audit.job.model), "digest": digest_of_model(audit)},
        "base": base,
        "verdict": audit.verdict,
        "reason": audit.reason,
        "fail_on": audit.job.fail_on,
        "tensors_seen": document.coverage.seen,
        "gaps": len(document.coverage.skipped),
    }


def _result(it: Placed, catalogues: Catalogues) -> Json:
    each, finding = it.found, it.found.finding
    return {
        "ruleId": finding.code,
        "level": LEVELS[finding.severity],
        "message": {"text": literal(visible(finding.message))},
        # GitHub reads the first one only, and expects a count of equal ones behind the colon.
        "partialFingerprints": {"primaryLocationLineHash": it.key, "registryAuditorFinding/v1": each.fingerprint},
        "suppressions": _suppressions(each.standing),
        "taxa": [catalogues.place(ref) for ref in _references(each)],
        "properties": {
            "id": each.id,
            "analyzer": each.analyzer,
            "severity": finding.severity,
            "security-severity": SECURITY_SEVERITY[finding.severity],
            "score": finding.score,
            "threshold": finding.threshold,
            "fpr": finding.fpr,
            "state": each.standing.state,
            "evidence": _bounded(dict(finding.evidence), MAX_DEPTH),
        },
        **({} if it.since is None else {"baselineState": it.since}),
    }


def _references(each: StoredFinding) -> tuple[Taxonomy, ...]:
    return references(each.finding.code, each.finding.taxonomies)


def _location(each: StoredFinding, uri: str) -> Json:
    # A model has no lines; but GitHub refuses results without one, and the first is what others give for a whole file.
    place = {"artifactLocation": {"uri": uri, "index": 0}, "region": {"startLine": 1}}
    location: Json = {"physicalLocation": place}
    if each.finding.site is not None:
        location["logicalLocations"] = [_logical(each.finding.site)]
    return location


def _logical(site: Site) -> Json:
    return {"name": str(site), "fullyQualifiedName": site.tensor, "kind": "tensor"}


def _suppressions(among: Standing) -> list[Json]:
    """What people have set aside; a finding that is looked into is not suppressed by that."""
    found = []
    if among.suppression is not None:
        rule = among.suppression
        about = {"id": rule.id, "by": rule.by, "expires_at": rule.expires_at.isoformat()}
        found.append(_external("accepted", rule.reason, about))
    if among.opinion is not None and among.state.dismisses:
        triage = among.opinion.triage
        why = ": ".join(filter(None, (triage.justification or triage.state, triage.comment)))
        found.append(_external("accepted", why, {"id": among.opinion.id, "by": among.opinion.by}))
    if not found and among.opinion is not None and among.state is TriageState.IN_TRIAGE:
        opinion = among.opinion
        found.append(
            _external("underReview", opinion.triage.comment or "in triage", {"id": opinion.id, "by": opinion.by})
        )
    return found


def _external(status: str, justification: str, about: Json) -> Json:
    return {"kind": "external", "status": status, "justification": justification, "properties": about}


def _entry(ref: ModelRef) -> str:
    return f"{ref.registry}:{ref.name}"


def _uri(ref: ModelRef) -> str:
    """`hf/org/name`: the same for every revision, and relative, as GitHub wants it."""
    return quote(f"{ref.registry}/{ref.name.lstrip('/')}")


def _bounded(value: Any, depth: int) -> Any:
    """Evidence without its far ends: long lists, long strings and deep nesting are cut, and say so."""
    if isinstance(value, str):
        return value if len(value) <= MAX_STRING else f"{value[:MAX_STRING]}… ({len(value)} characters)"
    if not isinstance(value, Mapping | Sequence):
        return value
    if depth == 0:
        return f"… ({len(value)} entries)"
    more = [f"… ({len(value) - MAX_ITEMS} more)"] if len(value) > MAX_ITEMS else []
    if isinstance(value, Mapping):
        kept = {str(key)[:MAX_STRING]: _bounded(inner, depth - 1) for key, inner in list(value.items())[:MAX_ITEMS]}
        return kept | ({"…": more[0]} if more else {})
    return [*(_bounded(inner, depth - 1) for inner in value[:MAX_ITEMS]), *more]
