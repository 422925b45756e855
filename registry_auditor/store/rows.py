"""Domain records as rows, and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from registry_auditor.domain import (
    Audit,
    AuditState,
    Coverage,
    Direction,
    Finding,
    Gap,
    Job,
    ModelRef,
    Run,
    Site,
    StepKey,
    SubjectKey,
    Taxonomy,
    TokenReadout,
    digest_of,
)
from registry_auditor.store.columns import plain
from registry_auditor.store.ids import uuid7
from registry_auditor.store.records import Sighting
from registry_auditor.store.tables import AuditRow, DirectionRow, FindingRow, ModelRow, RunRow, SightingRow

Values = dict[str, Any]


def job_digest(job: Job) -> str:
    """Equal for jobs that ask for the same work; who claims the base, and who can do it, does not matter."""
    return digest_of([str(job.model), job.base and str(job.base), job.fail_on, _plan(job.plan), *_wished(job)])


def _wished(job: Job) -> list[Any]:
    return [] if job.wish is None else [plain(job.wish)]


def audit_values(job: Job, *, model_id: int, base_id: int | None, now: datetime) -> Values:
    """A queued row of `audits`."""
    return {
        "id": uuid7(),
        "model_id": model_id,
        "base_id": base_id,
        "base_source": job.base_source,
        "fail_on": job.fail_on,
        "plan": _plan(job.plan),
        "wish": None if job.wish is None else plain(job.wish),
        "job_digest": job_digest(job),
        "queue": job.queue,
        "state": AuditState.QUEUED,
        "queued_at": now,
        "due_at": now,
        "claims": 0,
    }


def _plan(plan: Iterable[StepKey]) -> list[list[Any]]:
    return [[step.analyzer, step.version, step.params] for step in plan]


def plan_of(row: AuditRow) -> tuple[StepKey, ...]:
    """The steps that an audit is to make, in order."""
    return tuple(StepKey(*step) for step in row.plan)


def model_ref(row: ModelRow) -> ModelRef:
    """The model of a row."""
    return ModelRef(row.within, row.name, row.revision or None)


def audit(row: AuditRow, model: ModelRow, base: ModelRow | None) -> Audit:
    """The audit of a row and of the models that it names."""
    job = Job(
        model=model_ref(model),
        base=None if base is None else model_ref(base),
        base_source=row.base_source,
        fail_on=row.fail_on,
        plan=plan_of(row),
        queue=row.queue,
        wish=row.wish,
    )
    return Audit(
        id=row.id,
        job=job,
        state=row.state,
        verdict=row.verdict,
        reason=row.reason,
        queued_at=row.queued_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        claims=row.claims,
        holder=row.holder,
        lease_expires_at=row.lease_expires_at,
        subject=None if row.model_digest is None else SubjectKey(row.model_digest, row.base_digest),
    )


def sighting(row: SightingRow, model: ModelRow, base: ModelRow | None) -> Sighting:
    """The sighting of a row and of the models that it names."""
    return Sighting(
        model=model_ref(model),
        base=None if base is None else model_ref(base),
        base_source=row.source,
        skipped=row.skipped,
        registry=row.shown_by,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
    )


def run_key(subject: SubjectKey, step: StepKey) -> Values:
    """The columns under which at most one `ok` run exists."""
    return {
        "model_digest": subject.model,
        "base_digest": subject.base or "",
        "analyzer": step.analyzer,
        "version": step.version,
        "params_digest": step.params,
    }


def run_values(run: Run, *, audit_id: str, now: datetime) -> Values:
    """A row of `runs`."""
    return run_key(run.subject, run.step) | {
        "id": uuid7(),
        "audit_id": audit_id,
        "params": plain(run.params),
        "status": run.status,
        "reason": run.reason,
        "seconds": run.seconds,
        "device": run.device,
        "peak_memory_bytes": run.peak_memory_bytes,
        "coverage_seen": run.coverage.seen,
        "coverage_skipped": plain([[gap.tensor, gap.why] for gap in run.coverage.skipped]),
        "created_at": now,
    }


def run(row: RunRow, findings: Iterable[Finding]) -> Run:
    """The run of a row, without its directions."""
    return Run(
        step=StepKey(row.analyzer, row.version, row.params_digest),
        subject=SubjectKey(row.model_digest, row.base_digest or None),
        params=row.params,
        status=row.status,
        reason=row.reason,
        seconds=row.seconds,
        device=row.device,
        peak_memory_bytes=row.peak_memory_bytes,
        coverage=Coverage(row.coverage_seen, tuple(Gap(*gap) for gap in row.coverage_skipped)),
        findings=tuple(findings),
    )


def fingerprint(finding: Finding, model: ModelRef) -> str:
    """What stays equal when the model gets a new revision, and the analyzer new words or numbers."""
    tensor = finding.site and finding.site.tensor
    return digest_of(plain([finding.code, f"{model.registry}:{model.name}", tensor, finding.evidence.get("key")]))


def finding_values(finding: Finding, *, model: ModelRef, analyzer: str) -> Values:
    """A row of `findings` without its run."""
    site = finding.site
    return {
        "id": uuid7(),
        "fingerprint": fingerprint(finding, model),
        "code": finding.code,
        "analyzer": analyzer,
        "severity": finding.severity,
        "score": _number(finding.score),
        "threshold": _number(finding.threshold),
        "fpr": _number(finding.fpr),
        "message": finding.message,
        "tensor": site and site.tensor,
        "layer": site and site.layer,
        "role": site and site.role,
        "side": site and site.side,
        "evidence": plain(finding.evidence),
        "taxonomies": plain([[t.scheme, t.version, t.id] for t in finding.taxonomies]),
    }


def finding(row: FindingRow) -> Finding:
    """The finding of a row."""
    return Finding(
        code=row.code,
        severity=row.severity,
        message=row.message,
        score=row.score,
        threshold=row.threshold,
        fpr=row.fpr,
        site=None if row.tensor is None else Site(row.tensor, row.layer, row.role or "other", row.side),
        evidence=row.evidence,
        taxonomies=tuple(Taxonomy(*taxonomy) for taxonomy in row.taxonomies),
    )


def direction_values(direction: Direction) -> Values:
    """A row of `directions` without its place in the bank."""
    tokens = direction.tokens
    return {
        "tensor": direction.site.tensor,
        "layer": direction.site.layer,
        "role": direction.site.role,
        "side": direction.site.side,
        "rank": int(direction.rank),
        "strength": float(direction.strength),
        "residual": float(direction.residual),
        "tokens": tokens and plain({"top": tokens.top, "bottom": tokens.bottom, "p_value": tokens.p_value}),
    }


def tokens(row: DirectionRow) -> TokenReadout | None:
    """What an analyzer has read in a direction."""
    if row.tokens is None:
        return None
    top, bottom = (tuple((word, score) for word, score in row.tokens[end]) for end in ("top", "bottom"))
    return TokenReadout(top, bottom, row.tokens["p_value"])


def _number(value: float | None) -> float | None:
    # SQLite keeps NaN as NULL, PostgreSQL as NaN: one answer for both.
    return None if value is None or value != value else float(value)
