"""What somebody asked for, what examined it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from registry_auditor.domain.directions import Direction
from registry_auditor.domain.findings import Coverage, Finding, Severity
from registry_auditor.domain.models import ModelRef


class Verdict(StrEnum):
    """What a deploy gate may conclude from a finished audit."""

    PASS = "pass"
    FAIL = "fail"
    INCOMPLETE = "incomplete"
    ERROR = "error"


class AuditState(StrEnum):
    """Where an audit is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class RunStatus(StrEnum):
    """How one analyzer ended on one audit."""

    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"
    TIMED_OUT = "timed_out"


class Queue(StrEnum):
    """Which workers can do an audit."""

    CPU = "cpu"
    GPU = "gpu"


class NoticeState(StrEnum):
    """Where the notice of a finished audit to one target is in its life."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given_up"


class BaseSource(StrEnum):
    """Who says that this is the base."""

    CARD = "card"
    ADAPTER = "adapter"
    CONFIG = "config"
    OPERATOR = "operator"
    MEASURED = "measured"


@dataclass(frozen=True)
class SubjectKey:
    """What was examined: content digests of the tuned model and of its base (None: without a base)."""

    model: str
    base: str | None


@dataclass(frozen=True)
class StepKey:
    """What examined it: bump `version` and only this analyzer runs again."""

    analyzer: str
    version: int
    params: str
    """Digest of the resolved parameters."""


@dataclass(frozen=True)
class Run:
    """One analyzer on one subject: what it found, what it cost and what it looked at."""

    step: StepKey
    subject: SubjectKey
    params: Mapping[str, Any]
    status: RunStatus
    reason: str | None
    """Why it is not `ok`; None when it is."""
    seconds: float
    device: str
    peak_memory_bytes: int | None
    coverage: Coverage
    findings: tuple[Finding, ...] = ()
    directions: tuple[Direction, ...] = ()


@dataclass(frozen=True)
class Job:
    """What somebody asked for: this model, against this base, judged at this severity."""

    model: ModelRef
    base: ModelRef | None = None
    base_source: BaseSource | None = None
    fail_on: Severity = Severity.HIGH
    plan: tuple[StepKey, ...] = ()
    queue: Queue = Queue.CPU
    wish: Mapping[str, Mapping[str, Any]] | None = None
    """Which analyzers somebody asked for by name, with parameters of their own; None: as the settings say.

    Such a job may come without revisions, base and plan: the worker that takes it up finds them out.
    """


@dataclass(frozen=True)
class Audit:
    """A job in the queue of record, and what became of it."""

    id: str
    job: Job
    state: AuditState
    verdict: Verdict | None
    reason: str | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    claims: int
    """How often a worker has taken it up."""
    holder: str | None
    """The worker that holds, or last held, the lease."""
    lease_expires_at: datetime | None
    subject: SubjectKey | None = None
    """What was read; None until a worker has opened the model."""
