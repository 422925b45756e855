"""What a notification says: enough to decide whether to look, and the id to look with."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry_auditor.domain import Audit, Finding, Severity
from registry_auditor.store import StoredRun

SCHEMA_VERSION = "1"
"""Raised when a field changes its meaning or goes; new fields may appear at any time."""
TOP = 5
LONGEST = 500
"""Characters of a sentence: receivers are told to expect some 20 KB at most."""
CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+(?=@)")
"""The `user:password` of an address, as an error of a registry may quote it."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """What is sent, and under which id: the same one however often it has to be tried."""

    id: str
    body: str
    """JSON in ASCII: no text of a hostile model can fail to be encoded."""


def audit_finished(notice_id: str, audit: Audit, runs: Sequence[StoredRun]) -> Message:
    """A finished audit with its most severe findings, and how many there are of each severity.

    Those that people have set aside are counted apart.
    """
    findings = [found for stored in runs for found in stored.counting.findings]
    counts = Counter(found.severity for found in findings)
    worst = sorted(findings, key=lambda found: -found.severity.weight)[:TOP]
    data = {
        "audit": audit.id,
        "model": str(audit.job.model),
        "base": audit.job.base and str(audit.job.base),
        "verdict": audit.verdict,
        "reason": _sentence(audit.reason or ""),
        "finished_at": audit.finished_at and audit.finished_at.isoformat(),
        "counts": {severity: counts[severity] for severity in Severity},
        "worst": [_finding(found) for found in worst],
        "set_aside": sum(len(stored.findings) for stored in runs) - len(findings),
    }
    return _message(notice_id, "audit.finished", audit.finished_at or audit.queued_at, data)


def trial(message_id: str, target: str, now: datetime) -> Message:
    """What `notifications test` sends."""
    return _message(message_id, "test", now, {"target": target})


def _message(message_id: str, kind: str, when: datetime, data: Json) -> Message:
    payload = {"schema_version": SCHEMA_VERSION, "type": kind, "timestamp": when.isoformat(), "data": data}
    return Message(message_id, json.dumps(payload, allow_nan=False))


def _finding(found: Finding) -> Json:
    return {
        "code": found.code,
        "severity": found.severity,
        "message": _sentence(found.message),
        "fpr": found.fpr,
    }


def _sentence(text: str) -> str:
    text = CREDENTIALS.sub("***", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
