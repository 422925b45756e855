"""One audit: every planned analyzer once on one model, each run kept as soon as it is done."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from registry_auditor.analysis.analyzer import Step
from registry_auditor.analysis.run import run
from registry_auditor.analysis.subject import Progress, Subject
from registry_auditor.analysis.verdict import judge
from registry_auditor.domain import Audit, ModelRef, Run, SubjectKey, Verdict
from registry_auditor.errors import RegistryError, StoreError, WeightsError
from registry_auditor.registries import open_model
from registry_auditor.store import Store

logger = logging.getLogger(__name__)

LEASE_S = 60.0
"""How long an audit stays with a worker that gives no sign of life."""


@dataclass(frozen=True)
class Terms:
    """How an audit is carried out; nothing here changes what is found."""

    device: str = "cpu"
    timeout_s: float | None = None
    """For each run."""
    progress: Callable[[str, int, int], None] | None = None
    """Told the analyzer, and how many of how many matrices are done."""

    def for_step(self, step: Step) -> Progress | None:
        """The progress of one analyzer."""
        if self.progress is None:
            return None
        progress, name = self.progress, step.analyzer.name
        return lambda done, total: progress(name, done, total)


def audit(record: Audit, store: Store, plan: Sequence[Step], terms: Terms) -> None:
    """Run every planned analyzer once on one model; safe to call again.

    Afterwards the audit shows a run for every step. Each is committed alone, so that what a killed worker had
    finished is not done again. Raises RegistryError or WeightsError if a model cannot be opened.
    """
    job = record.job
    with open_model(job.model) as tuned, open_model(job.base) if job.base else nullcontext() as base:
        subject = Subject(tuned, base, _key(job.model, job.base), device=terms.device)
        store.set_subject(record.id, subject.key)
        for step in plan:
            if store.has_run(subject.key, step.key):
                store.adopt(record.id, subject.key, step.key)
            else:
                store.save(record.id, _run(step, subject, terms))


def carry_out(record: Audit, store: Store, plan: Sequence[Step], terms: Terms) -> Audit:
    """Claim `record`, audit it and judge it; afterwards it is done, unless this process is interrupted.

    A model that cannot be opened ends as verdict `error`. Raises StoreError if another worker holds the audit.
    """
    with lease(record, store) as held:
        if not held:
            raise StoreError(f"audit {record.id} is being run by {record.holder}; see: registry-auditor audits list")
        try:
            audit(record, store, plan, terms)
        except (RegistryError, WeightsError) as error:
            return store.finish(record.id, Verdict.ERROR, str(error))
        judgement = judge([stored.run for stored in store.runs(record.id)], fail_on=record.job.fail_on)
        return store.finish(record.id, judgement.verdict, judgement.reason)


@contextmanager
def lease(record: Audit, store: Store) -> Iterator[bool]:
    """Hold `record` for this process, renewed in the background; yields whether it could be claimed.

    Interrupted, it goes back to the queue, from where the next call resumes it.
    """
    worker = f"{socket.gethostname()}:{os.getpid()}"
    held = store.claim(record.id, worker, lease_s=LEASE_S, dead=record.holder if _is_gone(record.holder) else None)
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(LEASE_S / 4):
            try:
                store.renew(record.id, worker, lease_s=LEASE_S)
            except StoreError as error:  # the next attempt may succeed; what is lost at worst is the lease
                logger.warning("the lease of %s could not be renewed: %s", record.id, error)

    thread = threading.Thread(target=renew, name=f"lease of {record.id}", daemon=True)
    if held:
        thread.start()
    try:
        yield held
    except KeyboardInterrupt:
        stop.set()
        store.release(record.id, worker)
        raise
    finally:
        stop.set()
        if held:
            thread.join()


def _run(step: Step, subject: Subject, terms: Terms) -> Run:
    return run(step, subject, timeout_s=terms.timeout_s, progress=terms.for_step(step))


def _key(model: ModelRef, base: ModelRef | None) -> SubjectKey:
    return SubjectKey(model.revision or "", base.revision if base else None)


def _is_gone(worker: str | None) -> bool:
    """Whether `worker` was a process of this machine that is no more."""
    host, _, pid = (worker or "").rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, and belongs to somebody else
    return False
