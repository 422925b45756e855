"""What the runs of an audit add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry_auditor.domain import Run, RunStatus, Severity, Verdict, total


@dataclass(frozen=True)
class Judgement:
    """A verdict and the sentence that explains it."""

    verdict: Verdict
    reason: str


def judge(runs: Sequence[Run], *, fail_on: Severity) -> Judgement:
    """`fail` for a finding at or above `fail_on`, else `incomplete` where nobody looked, else `pass`."""
    grave = [finding for run in runs for finding in run.findings if finding.severity.at_least(fail_on)]
    if grave:
        codes = ", ".join(dict.fromkeys(finding.code for finding in grave))
        return Judgement(Verdict.FAIL, f"{_count(len(grave), 'finding')} at or above {fail_on}: {codes}")
    holes = [f"{run.step.analyzer} {run.status.replace('_', ' ')}: {run.reason}" for run in runs if not _is_ok(run)]
    coverage = total(run.coverage for run in runs)
    if coverage.skipped:
        first = coverage.skipped[0]
        holes.append(f"{_count(len(coverage.skipped), 'gap')} in the coverage, first {first.tensor}: {first.why}")
    if not holes and not coverage.seen:
        holes.append("nothing was looked at")
    if holes:
        return Judgement(Verdict.INCOMPLETE, "; ".join(holes))
    return Judgement(Verdict.PASS, f"complete, nothing at or above {fail_on}")


def _is_ok(run: Run) -> bool:
    return run.status is RunStatus.OK


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
