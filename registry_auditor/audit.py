"""One audit: every planned analyzer once on one model, each run kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from registry_auditor import logs
from registry_auditor.analysis.analyzer import Analyzer, Step
from registry_auditor.analysis.run import run
from registry_auditor.analysis.subject import Progress, Subject
from registry_auditor.analysis.verdict import judge
from registry_auditor.domain import Audit, AuditState, Coverage, Run, RunStatus, Severity, StepKey, SubjectKey, Verdict
from registry_auditor.errors import RegistryError, StoreError, WeightsError
from registry_auditor.registries import Cache, open_model, verify
from registry_auditor.store import Store
from registry_auditor.store.catalogue import AnalyzerInfo
from registry_auditor.store.lease import lease


@dataclass(frozen=True)
class Terms:
    """How an audit is carried out; nothing here changes what is found."""

    device: str = "cpu"
    timeout_s: float | None = None
    """For each run."""
    progress: Callable[[str, int, int], None] | None = None
    """Told the analyzer, and how many of how many matrices are done."""
    cache: Cache | None = None
    """For what registries must fetch; a folder of the user's if None."""
    announce: Callable[[Verdict, Severity | None], Sequence[str]] = lambda verdict, worst: ()
    """Which targets hear of an audit with this verdict and this worst finding."""

    def for_step(self, step: Step) -> Progress | None:
        """The progress of one analyzer."""
        if self.progress is None:
            return None
        progress, name = self.progress, step.analyzer.name
        return lambda done, total: progress(name, done, total)


def audit(
    record: Audit, store: Store, plan: Sequence[Step], terms: Terms, *, given_up: Collection[StepKey] = ()
) -> bool:
    """Run every planned analyzer once on one model; safe to call again. Whether the audit is still its holder's.

    Afterwards the audit shows a run for every step, save those in `given_up`. Each is committed alone, so that what a
    killed worker had finished is not done again; one that was cancelled, or that another worker has taken over, goes
    no further. Raises RegistryError or WeightsError if a model cannot be opened, or if it changes meanwhile.
    """
    job, installed = record.job, {step.key: step for step in plan}
    open_ = partial(open_model, cache=terms.cache)
    with open_(job.model) as tuned, open_(job.base) if job.base else nullcontext() as base:
        subject = Subject(tuned, base, subject_key(record), device=terms.device)
        store.set_subject(record.id, subject.key)
        finished = store.finished(subject.key, job.plan)
        for key in (step for step in job.plan if step not in given_up):
            if not _is_held(record, store):
                return False
            if key in finished:
                store.adopt(record.id, subject.key, key)
                continue
            step = installed.get(key)
            done = failed(record, key, _missing(key, installed)) if step is None else _run(step, subject, terms)
            for read in filter(None, (job.model, job.base)):
                verify(read, cache=terms.cache)
            store.save(record.id, done)
    return _is_held(record, store)


def introduced(installed: Iterable[Analyzer]) -> list[AnalyzerInfo]:
    """Analyzers as the store keeps them, for those who cannot import them: `store.analyzers.save(introduced(…))`."""
    return [
        AnalyzerInfo(each.name, each.version, tuple(sorted(each.needs)), each.summary, each.manual, each.schema)
        for each in installed
    ]


def carry_out(record: Audit, store: Store, plan: Sequence[Step], terms: Terms) -> Audit:
    """Claim `record`, audit it and judge it; afterwards it is done, unless this process is interrupted.

    A model that cannot be opened ends as verdict `error`. Raises StoreError if another worker holds the audit.
    """
    with logs.about(record.id), lease(record, store) as worker:
        if worker is None:
            raise StoreError(f"audit {record.id} {_taken(record)}; see: registry-auditor audits show {record.id}")
        try:
            held = audit(replace(record, holder=worker), store, plan, terms)
        except (RegistryError, WeightsError) as error:
            return conclude(record, store, terms, failure=str(error))
        return conclude(record, store, terms) if held else store.audit(record.id)


def conclude(record: Audit, store: Store, terms: Terms, *, failure: str | None = None) -> Audit:
    """Judge the runs of an audit and finish it; a `failure` makes it `error`, unless something grave was found.

    What people have set aside does not count, and the reason says how much that is.
    """
    shown = store.runs(record.id)
    runs = [stored.counting for stored in shown]
    judgement = judge(runs, fail_on=record.job.fail_on)
    verdict, reason = judgement.verdict, judgement.reason
    if failure is not None:
        verdict = Verdict.FAIL if verdict is Verdict.FAIL else Verdict.ERROR
        reason = f"{reason}; {failure}" if verdict is Verdict.FAIL else failure
    if aside := sum(len(stored.findings) - len(stored.counting.findings) for stored in shown):
        reason += f"; {aside} finding{'' if aside == 1 else 's'} set aside by triage or suppression"
    severities = [finding.severity for each in runs for finding in each.findings]
    worst = max(severities, key=lambda severity: severity.weight, default=None)
    return store.finish(record.id, verdict, reason, notify=terms.announce(verdict, worst))


def failed(record: Audit, step: StepKey, reason: str) -> Run:
    """The record of a step that was not run."""
    return Run(step, subject_key(record), {}, RunStatus.FAILED, reason, 0.0, "none", None, Coverage())


def subject_key(record: Audit) -> SubjectKey:
    """What an audit examines, by the revisions that its job names."""
    job = record.job
    return SubjectKey(job.model.revision or "", job.base.revision if job.base else None)


def _is_held(record: Audit, store: Store) -> bool:
    """Whether the audit is at work in the hands of its holder, and nobody has cancelled it."""
    now = store.audit(record.id)
    return now.state is AuditState.RUNNING and now.holder == record.holder


def _taken(record: Audit) -> str:
    """Why it cannot be claimed now."""
    if record.state is AuditState.QUEUED:
        return f"waits for its registry ({record.reason}), and is taken up again by itself"
    return f"is being run by {record.holder}"


def _run(step: Step, subject: Subject, terms: Terms) -> Run:
    return run(step, subject, timeout_s=terms.timeout_s, progress=terms.for_step(step))


def _missing(key: StepKey, installed: Collection[StepKey]) -> str:
    """Why this installation cannot make a step that somebody else planned."""
    here = next((step for step in installed if step.analyzer == key.analyzer), None)
    if here is None:
        return f"{key.analyzer} is not installed, or not selected, where the audit ran; install it there"
    if here.version != key.version:
        return f"version {key.version} was planned, and {here.version} is installed where the audit ran; upgrade both"
    return (
        f"{key.analyzer} is configured differently where the audit was planned and where it ran; use one auditor.toml"
    )
