"""One analyzer on one subject: whatever happens inside becomes a record, and nothing escapes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from registry_auditor.analysis.analyzer import Observation, Step
from registry_auditor.analysis.contract import check
from registry_auditor.analysis.footprint import PeakMemory
from registry_auditor.analysis.subject import Progress, Subject
from registry_auditor.domain import Coverage, Direction, Finding, Run, RunStatus
from registry_auditor.errors import AuditorError, DeadlineExceeded, NotApplicable, RegistryUnavailable

logger = logging.getLogger(__name__)


@dataclass
class _Collected:
    findings: list[Finding] = field(default_factory=list)
    directions: list[Direction] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)


def run(step: Step, subject: Subject, *, timeout_s: float | None = None, progress: Progress | None = None) -> Run:
    """Run `step` on `subject` and record what came of it; KeyboardInterrupt and its like pass through.

    So does RegistryUnavailable: the run may succeed later.

    What an analyzer yielded before it failed or ran out of time is kept. The time limit is looked at whenever the
    analyzer asks the subject for something or yields.
    """
    view = subject.for_run(timeout_s=timeout_s, progress=progress)
    collected, memory, started = _Collected(), PeakMemory(), time.monotonic()
    status, reason = _outcome(step, view, collected)
    return Run(
        step=step.key,
        subject=subject.key,
        params=step.params,
        status=status,
        reason=reason,
        seconds=time.monotonic() - started,
        device=subject.device,
        peak_memory_bytes=memory.bytes(),
        coverage=view.ledger.coverage + collected.coverage,
        findings=tuple(collected.findings),
        directions=tuple(collected.directions),
    )


def _outcome(step: Step, subject: Subject, collected: _Collected) -> tuple[RunStatus, str | None]:
    missing = [why for need in sorted(step.analyzer.needs) if (why := subject.lacks(need))]
    if missing:
        return RunStatus.SKIPPED, "; ".join(missing)
    try:
        for observation in step.examine(subject):
            check(observation, analyzer=step.analyzer.name)
            _collect(observation, collected)
            subject.check_deadline()
    except NotApplicable as error:
        return RunStatus.SKIPPED, str(error)
    except DeadlineExceeded as error:
        return RunStatus.TIMED_OUT, str(error)
    except RegistryUnavailable:
        raise  # what is read comes lazily from a registry: that it does not answer now says nothing about the model
    except AuditorError as error:
        return RunStatus.FAILED, str(error)
    except Exception as error:
        # An analyzer is somebody else's code: its bug costs its own run, never the audit.
        logger.exception("analyzer %s failed", step.analyzer.name)
        return RunStatus.FAILED, f"{type(error).__name__}: {error}"
    return RunStatus.OK, None


def _collect(observation: Observation, collected: _Collected) -> None:
    match observation:
        case Finding():
            collected.findings.append(observation)
        case Direction():
            collected.directions.append(observation)
        case Coverage():
            collected.coverage += observation
