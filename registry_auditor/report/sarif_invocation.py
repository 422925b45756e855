"""The part of a SARIF log that says how the audit went: what could not be looked at, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from registry_auditor.domain import Gap, RunStatus, Verdict
from registry_auditor.report.document import Report
from registry_auditor.report.visible import visible
from registry_auditor.store import StoredRun

Json = dict[str, Any]

MAX_GAPS = 200
"""Gaps that are listed one by one; the rest is counted."""

NOTIFICATIONS = {
    "audit/error": "The model could not be audited.",
    "audit/unfinished": "The audit is not done.",
    "run/failed": "An analyzer failed.",
    "run/timed-out": "An analyzer ran out of time.",
    "run/skipped": "An analyzer had nothing to say about this model.",
    "coverage/gap": "A tensor or file that nobody looked at.",
    "results/left-out": "There are more findings than the file may hold.",
}
_RUNS = {
    RunStatus.FAILED: ("run/failed", "error"),
    RunStatus.TIMED_OUT: ("run/timed-out", "error"),
    RunStatus.SKIPPED: ("run/skipped", "warning"),
}


def invocation(document: Report, *, left_out: int = 0) -> Json:
    """The audit as an `invocation`; it is unsuccessful if an analyzer failed or the model could not be read."""
    audit = document.audit
    told = [*_of_audit(document), *_of_runs(document), *_of_coverage(document)]
    if left_out > 0:
        told.append(
            _notification("results/left-out", "warning", f"{left_out} findings, the least severe, are left out")
        )
    times = {"startTimeUtc": audit.started_at, "endTimeUtc": audit.finished_at}
    return {
        "executionSuccessful": not any(each["level"] == "error" for each in told),
        **{key: f"{time:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z" for key, time in times.items() if time},
        "exitCode": document.exit_code,
        "exitCodeDescription": audit.reason or "not finished",
        "toolExecutionNotifications": told,
    }


def literal(text: str) -> str:
    """`text` as a SARIF message, in which braces hold arguments and brackets before parentheses make links."""
    safe = re.sub(r"([\\\[\]])", r"\\\1", text) if "](" in text else text
    return safe.replace("{", "{{").replace("}", "}}")


def _of_audit(document: Report) -> Iterator[Json]:
    audit = document.audit
    if audit.verdict is None:
        yield _notification("audit/unfinished", "error", f"the audit is {audit.state}")
    elif audit.verdict is Verdict.ERROR:
        yield _notification("audit/error", "error", audit.reason or "the audit ended with an error")


def _of_runs(document: Report) -> Iterator[Json]:
    for stored in document.runs:
        if stored.run.status in _RUNS:
            yield _of_run(stored)


def _of_run(stored: StoredRun) -> Json:
    run = stored.run
    id_, level = _RUNS[run.status]
    told = _notification(id_, level, f"{run.step.analyzer} {run.status.replace('_', ' ')}: {run.reason}")
    return {**told, "properties": {"analyzer": run.step.analyzer, "version": run.step.version}}


def _of_coverage(document: Report) -> Iterator[Json]:
    skipped = document.coverage.skipped
    for gap in skipped[:MAX_GAPS]:
        yield _of_gap(gap)
    if len(skipped) > MAX_GAPS:
        yield _notification("coverage/gap", "warning", f"{len(skipped) - MAX_GAPS} more gaps in the coverage")


def _of_gap(gap: Gap) -> Json:
    place = {"logicalLocations": [{"fullyQualifiedName": gap.tensor, "kind": "tensor"}]}
    return {**_notification("coverage/gap", "warning", f"{gap.tensor}: {gap.why}"), "locations": [place]}


def _notification(id_: str, level: str, text: str) -> Json:
    index = list(NOTIFICATIONS).index(id_)
    return {"descriptor": {"id": id_, "index": index}, "level": level, "message": {"text": literal(visible(text))}}
