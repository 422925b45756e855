"""Whether a policy accepts what an audit found: a pure function of both and of the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from registry_auditor.domain import AuditState, RunStatus, Severity, Verdict
from registry_auditor.report.document import Report
from registry_auditor.report.duration import age
from registry_auditor.report.policy import Policy, Required
from registry_auditor.report.visible import visible
from registry_auditor.store import StoredFinding


class Ground(StrEnum):
    """What kind of reason stands against a model."""

    FINDING = "finding"
    ERROR = "error"
    UNPROVEN = "unproven"
    """Nobody has looked, or not at all, or not lately, or not as the policy wants it."""


EXIT_CODES = ((Ground.FINDING, 1), (Ground.ERROR, 2), (Ground.UNPROVEN, 3))
"""The first ground that there is gives the exit code."""


@dataclass(frozen=True)
class Reason:
    """One thing that the policy does not accept."""

    ground: Ground
    text: str


@dataclass(frozen=True)
class Decision:
    """What a gate says."""

    reasons: tuple[Reason, ...]
    """Why not; empty if the policy accepts the model."""
    set_aside: tuple[str, ...] = ()
    """Findings that would have blocked, and why they do not."""

    @property
    def accepted(self) -> bool:
        """Whether nothing stands against it."""
        return not self.reasons

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 for findings, 2 if the audit ended with an error, 3 for what is not proved."""
        grounds = {reason.ground for reason in self.reasons}
        return next((code for ground, code in EXIT_CODES if ground in grounds), 0)


def evaluate(document: Report, policy: Policy, *, now: datetime) -> Decision:
    """Hold a report against a policy, as things stand at `now`."""
    bad = [each for each in document.found if _is_too_bad(each.finding.severity, policy)]
    excuses = [(each, _why_it_does_not_block(each, policy)) for each in bad]
    reasons = (
        *(Reason(Ground.FINDING, _told(each)) for each, why in excuses if why is None),
        *_of_audit(document, policy, now),
        *_of_runs(document, policy),
        *_of_coverage(document, policy),
        *_of_base(document, policy),
    )
    return Decision(reasons, tuple(f"{_told(each)} ({why})" for each, why in excuses if why is not None))


def _is_too_bad(severity: Severity, policy: Policy) -> bool:
    return severity.weight > policy.max_severity.weight


def _why_it_does_not_block(each: StoredFinding, policy: Policy) -> str | None:
    standing = each.standing
    if policy.honour_suppressions and standing.suppression is not None:
        return f"suppressed: {visible(standing.suppression.reason)}"
    if policy.honour_triage and standing.state.dismisses:
        return standing.state.replace("_", " ")
    if policy.calibrated_only and each.finding.fpr is None:
        return "uncalibrated"
    return None


def _told(each: StoredFinding) -> str:
    finding = each.finding
    return f"{finding.severity} {finding.code}: {visible(finding.message)}"


def _of_audit(document: Report, policy: Policy, now: datetime) -> Iterator[Reason]:
    audit = document.audit
    if audit.state is not AuditState.DONE or audit.finished_at is None:
        yield Reason(Ground.UNPROVEN, f"audit {audit.id} is {audit.state}, not done")
        return
    if audit.verdict is Verdict.ERROR:
        yield Reason(Ground.ERROR, f"the audit ended with an error: {visible(audit.reason or 'unknown')}")
    old = now - audit.finished_at
    if policy.max_age is not None and old > policy.max_age:
        yield Reason(Ground.UNPROVEN, f"the audit is {age(old)} old, and may be {age(policy.max_age)} at most")


def _of_runs(document: Report, policy: Policy) -> Iterator[Reason]:
    names = set()
    for required in dict.fromkeys(policy.required):
        names.add(required.name)
        problem = _missing(document, required)
        if problem:
            yield Reason(Ground.UNPROVEN, problem)
    if policy.accept_incomplete or document.audit.state is not AuditState.DONE:
        return
    for stored in document.runs:
        run = stored.run
        if run.status is not RunStatus.OK and run.step.analyzer not in names:
            text = f"{run.step.analyzer} {run.status.replace('_', ' ')}: {visible(run.reason or '')}"
            yield Reason(Ground.UNPROVEN, text)


def _missing(document: Report, required: Required) -> str | None:
    """Why a required analyzer is not satisfied."""
    runs = [stored.run for stored in document.runs if stored.run.step.analyzer == required.name]
    if not runs:
        return f"{required.name} is required and was not run"
    latest = max(runs, key=lambda run: (run.status is RunStatus.OK, run.step.version))
    if latest.status is not RunStatus.OK:
        return f"{required.name} is required and {latest.status.replace('_', ' ')}: {visible(latest.reason or '')}"
    if latest.step.version < required.version:
        return f"{required.name} is required in version {required.version}, and version {latest.step.version} was run"
    return None


def _of_coverage(document: Report, policy: Policy) -> Iterator[Reason]:
    if document.audit.state is not AuditState.DONE:
        return
    coverage, limits = document.coverage, policy.coverage
    gaps = len(coverage.skipped)
    share = coverage.seen / (coverage.seen + gaps) if coverage.seen + gaps else 0.0
    is_limited = limits.max_gaps is not None or limits.min_seen_share is not None
    if limits.max_gaps is not None and gaps > limits.max_gaps:
        yield Reason(Ground.UNPROVEN, f"{gaps} tensors or files were not looked at, and {limits.max_gaps} may be")
    if limits.min_seen_share is not None and share < limits.min_seen_share:
        text = f"{share:.2%} of the tensors were looked at, and {limits.min_seen_share:.2%} must be"
        yield Reason(Ground.UNPROVEN, text)
    if policy.accept_incomplete or is_limited:
        return
    if gaps:
        first = coverage.skipped[0]
        text = f"{gaps} tensors or files were not looked at, first {visible(first.tensor)}: {visible(first.why)}"
        yield Reason(Ground.UNPROVEN, text)
    elif not coverage.seen and document.audit.verdict is not Verdict.ERROR:
        yield Reason(Ground.UNPROVEN, "nothing was looked at")


def _of_base(document: Report, policy: Policy) -> Iterator[Reason]:
    job = document.audit.job
    if job.base is None:
        if policy.base.required:
            yield Reason(Ground.UNPROVEN, "the model was examined without a base, and one is required")
    elif policy.base.sources is not None and job.base_source not in policy.base.sources:
        accepted = ", ".join(policy.base.sources) or "nobody"
        yield Reason(Ground.UNPROVEN, f"the base is named by the {job.base_source}, and the policy believes {accepted}")
