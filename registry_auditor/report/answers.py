"""The records of the catalogue and of people as JSON, beside those of audits in `records`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry_auditor.domain import FindingEvent, ModelRef, Severity, Token, Written
from registry_auditor.report import records
from registry_auditor.report.compare import Comparison, Turn
from registry_auditor.report.records import Json, moment
from registry_auditor.store.bank_files import BankFile
from registry_auditor.store.catalogue import AnalyzerInfo, Descent, ModelSummary, Revision, model_id
from registry_auditor.store.search.neighbours import Nearest, Neighbour, Pair, Shared, SharedWith


def model(summary: ModelSummary) -> Json:
    """A registry entry and how its newest audited revision stands."""
    return {
        "id": summary.id,
        "ref": str(summary.ref),
        "revisions": summary.revisions,
        "last_seen_at": moment(summary.last_seen_at),
        "worst": summary.worst,
        "counts": _counts(summary.counts),
        "audit": None if summary.audit is None else records.audit(summary.audit),
    }


def revision(shown: Revision) -> Json:
    """One revision of a registry entry."""
    return {
        "ref": str(shown.ref),
        "digest": shown.digest,
        "first_seen_at": moment(shown.first_seen_at),
        "last_seen_at": moment(shown.last_seen_at),
        "base": None if shown.base is None else {"ref": str(shown.base), "source": shown.base_source},
        "skipped": shown.skipped,
        "counts": _counts(shown.counts),
        "audit": None if shown.audit is None else records.audit(shown.audit),
    }


def lineage(edges: Sequence[Descent]) -> Json:
    """The lineage graph, which comes in one piece."""
    return records.listing([_descent(edge) for edge in edges], None)


def _descent(edge: Descent) -> Json:
    return {
        "model": _entry(edge.model),
        "base": _entry(edge.base),
        "source": edge.source,
        "verdict": edge.verdict,
    }


def analyzer(info: AnalyzerInfo) -> Json:
    """An analyzer without its schema, which has an address of its own."""
    return {
        "name": info.name,
        "version": info.version,
        "needs": list(info.needs),
        "summary": info.summary,
        "manual": info.manual,
        "seen_at": moment(info.seen_at),
    }


def event(happened: FindingEvent) -> Json:
    """One step in the life of a finding."""
    return {
        "at": moment(happened.at),
        "kind": happened.kind,
        "by": happened.by,
        "audit": happened.audit,
        "model": None if happened.model is None else str(happened.model),
        "triage": None if happened.opinion is None else records.opinion(happened.opinion),
        "suppression": None if happened.suppression is None else records.suppression(happened.suppression),
    }


def bank_file(file: BankFile) -> Json:
    """A bank as one can ask for it."""
    return {
        "sha256": file.sha256,
        "basis": file.basis,
        "dimension": file.dimension,
        "directions": file.directions,
        "size_bytes": file.size_bytes,
        "created_at": moment(file.created_at),
    }


def token(shown: Token) -> Json:
    """A token without its secret."""
    return {
        "id": shown.id,
        "name": shown.name,
        "scopes": sorted(shown.scopes),
        "created_at": moment(shown.created_at),
        "created_by": shown.created_by,
        "expires_at": moment(shown.expires_at),
        "revoked_at": moment(shown.revoked_at),
        "last_used_at": moment(shown.last_used_at),
    }


def written(line: Written) -> Json:
    """A line of the log of writes."""
    return {
        "id": line.id,
        "at": moment(line.at),
        "by": line.by,
        "action": line.action,
        "target": line.target,
        "detail": dict(line.detail),
    }


def nearest(found: Nearest) -> Json:
    """The neighbours of one direction."""
    return records.listing([_neighbour(each) for each in found.hits], None) | {
        "searched": found.searched,
        "missing": found.missing,
        "dimension": found.dimension,
        "basis": found.basis,
        "exact": found.exact,
    }


def shared(found: Shared) -> Json:
    """The models that share what an audit found."""
    return records.listing([_shared_with(each) for each in found.models], None) | {
        "asked": found.asked,
        "compared": found.compared,
        "searched": found.searched,
        "missing": found.missing,
        "dimension": found.dimension,
        "basis": found.basis,
        "exact": found.exact,
        "min_cosine": found.min_cosine,
    }


def comparison(between: Comparison) -> Json:
    """Two audits of one model, compared."""
    return {
        "before": records.audit(between.before),
        "after": records.audit(between.after),
        "new": [records.stored_finding(each) for each in between.new],
        "gone": [records.stored_finding(each) for each in between.gone],
        "unchanged": [records.stored_finding(each) for each in between.unchanged],
        "turned": [_turn(each) for each in between.turned],
    }


def _turn(turn: Turn) -> Json:
    return {
        "site": records.site(turn.before.site),
        "cosine": round(turn.cosine, 6),
        "before": records.direction(turn.before),
        "after": records.direction(turn.after),
    }


def _entry(ref: ModelRef) -> Json:
    return {"id": model_id(ref), "ref": str(ref)}


def _counts(counts: Mapping[Severity, int]) -> Json:
    return {severity: counts.get(severity, 0) for severity in Severity}


def _neighbour(near: Neighbour) -> Json:
    return {
        "direction": records.direction(near.direction),
        "cosine": near.cosine,
        "p_value": near.p_value,
        "expected": near.expected,
    }


def _shared_with(other: SharedWith) -> Json:
    return {
        "model": str(other.model),
        "matched": other.matched,
        "directions": other.directions,
        "p_value": other.p_value,
        "pairs": [_pair(each) for each in other.pairs],
    }


def _pair(pair: Pair) -> Json:
    return {
        "mine": records.direction(pair.mine),
        "theirs": records.direction(pair.theirs),
        "cosine": pair.cosine,
        "p_value": pair.p_value,
    }
