"""The records of the product as JSON, the same in every command, report and response."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from registry_auditor.domain import Audit, Coverage, Finding, ModelRef, Opinion, Site, Standing, Suppression
from registry_auditor.report.document import Report
from registry_auditor.report.taxonomies import references
from registry_auditor.store import BankInfo, Sighting, StoredDirection, StoredFinding, StoredRun, Watched

SCHEMA_VERSION = "1"
"""Raised when a field changes its meaning or goes; new fields may appear at any time."""

Json = dict[str, Any]


def report(document: Report) -> Json:
    """One audit with everything it found; described by `schema.json` beside this file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "exit_code": document.exit_code,
        "exit_reason": document.audit.reason,
        "audit": audit(document.audit),
        "runs": [run(stored) for stored in document.runs],
        "findings": [_reported(each) for each in document.found],
        "banks": [bank(info) for info in document.banks],
    }


def audit(record: Audit) -> Json:
    """An audit without its runs."""
    job, subject = record.job, record.subject
    base = None if job.base is None else _model(job.base, subject.base if subject else None)
    return {
        "id": record.id,
        "model": _model(job.model, subject.model if subject else None),
        "base": None if base is None else {**base, "source": job.base_source},
        "state": record.state,
        "verdict": record.verdict,
        "reason": record.reason,
        "fail_on": job.fail_on,
        "queued_at": moment(record.queued_at),
        "started_at": moment(record.started_at),
        "finished_at": moment(record.finished_at),
    }


def sighting(seen: Sighting) -> Json:
    """What a registry showed."""
    return {
        "model": _model(seen.model, None),
        "base": None if seen.base is None else {**_model(seen.base, None), "source": seen.base_source},
        "skipped": seen.skipped,
        "registry": seen.registry,
        "first_seen_at": moment(seen.first_seen_at),
        "last_seen_at": moment(seen.last_seen_at),
    }


def watched(state: Watched) -> Json:
    """How far a registry was looked at."""
    return {
        "registry": state.registry,
        "cursor": state.cursor,
        "polled_at": moment(state.polled_at),
        "full_at": moment(state.full_at),
        "problem": state.problem,
    }


def run(stored: StoredRun) -> Json:
    """A run without its findings and banks, which stand beside it."""
    done = stored.run
    return {
        "analyzer": done.step.analyzer,
        "version": done.step.version,
        "params": dict(done.params),
        "status": done.status,
        "reason": done.reason,
        "seconds": round(done.seconds, 3),
        "device": done.device,
        "peak_memory_bytes": done.peak_memory_bytes,
        "coverage": coverage(done.coverage),
    }


def coverage(looked: Coverage) -> Json:
    """What was looked at, and what was not."""
    return {
        "seen": looked.seen,
        "skipped": [{"tensor": gap.tensor, "why": gap.why} for gap in looked.skipped],
    }


def finding(found: Finding) -> Json:
    """A finding by itself."""
    return {
        "code": found.code,
        "severity": found.severity,
        "score": found.score,
        "threshold": found.threshold,
        "fpr": found.fpr,
        "message": found.message,
        "site": None if found.site is None else site(found.site),
        "evidence": dict(found.evidence),
        "taxonomies": [asdict(reference) for reference in references(found.code, found.taxonomies)],
    }


def _reported(stored: StoredFinding) -> Json:
    """A finding in the report of its audit, where the model need not be named again."""
    about = {"id": stored.id, "fingerprint": stored.fingerprint, "analyzer": stored.analyzer}
    return {**about, **finding(stored.finding), **standing(stored.standing)}


def stored_finding(stored: StoredFinding) -> Json:
    """A finding with its id and the model it was made for."""
    return {
        "id": stored.id,
        "fingerprint": stored.fingerprint,
        "audit": stored.audit,
        "model": str(stored.model),
        "analyzer": stored.analyzer,
        "created_at": moment(stored.created_at),
        **finding(stored.finding),
        **standing(stored.standing),
    }


def standing(among: Standing) -> Json:
    """Where a finding stands among people."""
    return {
        "state": among.state,
        "counts": among.counts,
        "triage": None if among.opinion is None else opinion(among.opinion),
        "suppression": None if among.suppression is None else suppression(among.suppression),
    }


def opinion(said: Opinion) -> Json:
    """What somebody said about a finding."""
    triage = said.triage
    return {
        "id": said.id,
        "state": triage.state,
        "justification": triage.justification,
        "owner": triage.owner,
        "comment": triage.comment,
        "expires_at": moment(triage.expires_at),
        "at": moment(said.at),
        "by": said.by,
    }


def suppression(rule: Suppression) -> Json:
    """A rule that takes findings out of verdicts."""
    return {
        "id": rule.id,
        "code": rule.code,
        "model": rule.model,
        "fingerprint": rule.fingerprint,
        "reason": rule.reason,
        "owner": rule.owner,
        "active": rule.is_active(datetime.now(UTC)),
        "created_at": moment(rule.created_at),
        "by": rule.by,
        "expires_at": moment(rule.expires_at),
        "ended_at": moment(rule.ended_at),
        "ended_by": rule.ended_by,
    }


def direction(stored: StoredDirection) -> Json:
    """A direction without its vector, which is row `ordinal` of the bank file."""
    return {
        "bank": stored.bank,
        "ordinal": stored.ordinal,
        "site": site(stored.site),
        "rank": stored.rank,
        "strength": stored.strength,
        "residual": stored.residual,
        "tokens": None if stored.tokens is None else asdict(stored.tokens),
        "models": [str(model) for model in stored.models],
    }


def bank(info: BankInfo) -> Json:
    """A direction bank."""
    return {
        "sha256": info.sha256,
        "analyzer": info.analyzer,
        "directions": info.directions,
        "dimension": info.dimension,
        "basis": info.basis,
    }


def site(place: Site) -> Json:
    """Where in a network something is."""
    return {"tensor": place.tensor, "layer": place.layer, "role": place.role, "side": place.side}


def listing(items: list[Json], after: str | None) -> Json:
    """A page of a list; `next` null is the only sign of the end."""
    return {"items": items, "next": after}


def _model(ref: ModelRef, digest: str | None) -> Json:
    return {"ref": str(ref), "digest": digest or ref.revision}


def moment(time: datetime | None) -> str | None:
    """A time as RFC 3339."""
    return None if time is None else time.isoformat()
