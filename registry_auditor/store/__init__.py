"""The only SQL of the product: what was audited, what was found, and the direction banks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Self, Unpack

from sqlalchemy import Engine

from registry_auditor.domain import Audit, Job, Queue, Run, StepKey, SubjectKey, Verdict
from registry_auditor.errors import UsageError
from registry_auditor.store import queue, read, schema, totals, write
from registry_auditor.store.analyzers import Analyzers
from registry_auditor.store.bank_files import BankFiles
from registry_auditor.store.banks import BankFolder, group
from registry_auditor.store.directions import Directions
from registry_auditor.store.engine import connect, parse, shown, sqlite_file
from registry_auditor.store.filters import AuditFilters, FindingFilters
from registry_auditor.store.findings import listing
from registry_auditor.store.models import Models
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.people.suppressions import Suppressions
from registry_auditor.store.people.tokens import Tokens
from registry_auditor.store.people.triage import Triages
from registry_auditor.store.people.writes import Writes
from registry_auditor.store.records import (
    Backlog,
    BankInfo,
    Delivery,
    Notice,
    Page,
    RunTotal,
    Sighting,
    StoredDirection,
    StoredFinding,
    StoredRun,
    Watched,
)
from registry_auditor.store.requests import Requests
from registry_auditor.store.schema import Schema, SchemaState, check, upgrade
from registry_auditor.store.search import Search
from registry_auditor.store.traffic.deliveries import Deliveries
from registry_auditor.store.traffic.notices import Notices
from registry_auditor.store.traffic.sightings import Sightings
from registry_auditor.store.traffic.watched import WatchedRegistries

__all__ = [
    "Backlog",
    "BankInfo",
    "Delivery",
    "Notice",
    "Page",
    "RunTotal",
    "Schema",
    "SchemaState",
    "Sighting",
    "Store",
    "StoredDirection",
    "StoredFinding",
    "StoredRun",
    "Watched",
    "check",
    "upgrade",
]


class Store(Part):
    """One database and one place for bank files; threads may share it, processes open their own.

    Every method is one transaction. All raise StoreError, with cause and remedy, if the database cannot be used.
    """

    def __init__(self, engine: Engine, banks: BankFolder) -> None:
        """Use `Store.open`, which checks both."""
        super().__init__(engine, banks)
        self.analyzers = Analyzers(engine, banks)
        self.banks = BankFiles(engine, banks)
        self.deliveries = Deliveries(engine, banks)
        self.directions = Directions(engine, banks)
        self.models = Models(engine, banks)
        self.notices = Notices(engine, banks)
        self.requests = Requests(engine, banks)
        self.search = Search(engine, banks)
        self.sightings = Sightings(engine, banks)
        self.suppressions = Suppressions(engine, banks)
        self.tokens = Tokens(engine, banks)
        self.triage = Triages(engine, banks)
        self.watched = WatchedRegistries(engine, banks)
        self.writes = Writes(engine, banks)

    @classmethod
    def open(cls, url: str, *, banks: str | None = None, create: bool = False) -> Store:
        """The store at a database URL, with bank files at an fsspec URL; by default in `banks/` beside an SQLite file.

        With `create`, a database without our tables gets them. Raises SchemaMismatch, with the command that
        mends it, if the schema is missing, older or newer than the code.
        """
        address = parse(url)
        if banks is None:
            file = sqlite_file(address)
            if file is None:
                raise UsageError(f"--db {shown(address)}: where do bank files go? pass a folder or URL with --banks")
            banks = str(file.parent.absolute() / "banks")
        folder = BankFolder.open(banks)
        schema.require(url, create=create)
        return cls(connect(address), folder)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, job: Job) -> Audit:
        """The unfinished audit of an equal job if there is one, else a queued one.

        Afterwards exactly one unfinished audit has this model, base, `fail_on` and plan.
        """
        return self._write(queue.submit, job)

    def ensure(self, job: Job) -> tuple[Audit, bool]:
        """The newest audit of an equal job, finished or not, else a queued one; and whether it was queued now."""
        return self._write(queue.ensure, job)

    def waiting(self, kind: Queue, *, limit: int, unsent: bool = False) -> list[str]:
        """The ids of audits that a worker may take now, oldest due first: queued, or left by a lease that ran out.

        With `unsent`, those not handed to the broker since they began to wait. A broker may lose what it was handed:
        when it has nothing left, ask without.
        """
        return self._read(queue.waiting, kind, limit=limit, unsent=unsent)

    def sent(self, ids: Sequence[str]) -> None:
        """Afterwards those of `ids` that still wait count as handed to the broker.

        To be said before they are: a worker that takes one and gives it back at once takes the mark off.
        """
        self._write(queue.sent, ids)

    def claim(self, audit_id: str, worker: str, *, lease_s: float, dead: str | None = None) -> bool:
        """Whether `worker` now holds the audit: it was due, its lease had run out, or `dead` held it.

        `dead` is a worker that the caller knows to be gone. Of workers that ask at once, one gets True.
        """
        return self._write(queue.claim, audit_id, worker, lease_s=lease_s, dead=dead)

    def renew(self, audit_id: str, worker: str, *, lease_s: float) -> bool:
        """Whether `worker` still holds the audit; if so, for another `lease_s` seconds."""
        return self._write(queue.renew, audit_id, worker, lease_s=lease_s)

    def release(self, audit_id: str, worker: str) -> bool:
        """Whether `worker` held the audit; if so, it waits at its old place, and the claim does not count."""
        return self._write(queue.release, audit_id, worker)

    def postpone(self, audit_id: str, worker: str, *, delay_s: float, reason: str) -> bool:
        """Whether `worker` held the audit; if so, it waits and shows `reason`, and the claim does not count."""
        return self._write(queue.postpone, audit_id, worker, delay_s=delay_s, reason=reason)

    def set_subject(self, audit_id: str, subject: SubjectKey) -> None:
        """Afterwards the audit, and the models it names, carry the digests of what was read."""
        self._write(queue.set_subject, audit_id, subject)

    def finished(self, subject: SubjectKey, steps: Collection[StepKey]) -> set[StepKey]:
        """Those of `steps` that are finished (`ok`) on this subject, for whichever audit."""
        return self._read(write.finished, subject, steps)

    def adopt(self, audit_id: str, subject: SubjectKey, step: StepKey) -> None:
        """Afterwards the audit shows the finished run of this step. Raises StoreError if there is none."""
        self._write(write.adopt, audit_id, subject, step)

    def save(self, audit_id: str, run: Run) -> None:
        """Afterwards the run, its findings and its banks are kept, and the audit shows them: all of it or nothing.

        If somebody else has finished the same step meanwhile, the audit shows that run, and this one is dropped.
        """
        basis = run.subject.base or self._read(write.claimed_base, audit_id)
        banks = group(run.directions, basis=basis)
        for bank in banks:
            self._banks.write(bank)
        self._write(write.save, audit_id, run, banks=banks)

    def finish(self, audit_id: str, verdict: Verdict, reason: str, *, notify: Sequence[str] = ()) -> Audit:
        """Afterwards the audit is done, and a notice for each target in `notify` is due: both or nothing.

        An audit that was done keeps its verdict, and nobody hears of it again.
        """
        return self._write(queue.finish, audit_id, verdict, reason, notify=notify)

    def backlog(self) -> list[Backlog]:
        """How much there is to do, for every queue."""
        return self._read(totals.backlog)

    def run_totals(self) -> list[RunTotal]:
        """How often each version of each analyzer ended how, and how long that took together."""
        return self._read(totals.run_totals)

    def audit(self, id_or_prefix: str) -> Audit:
        """The audit whose id begins so. Raises NotFound if there is none, or more than one."""
        return self._read(read.audit, id_or_prefix)

    def audits(self, *, limit: int = PAGE, after: str | None = None, **filters: Unpack[AuditFilters]) -> Page[Audit]:
        """Audits, newest first."""
        return self._read(read.audits, limit=limit, after=after, **filters)

    def runs(self, audit_id: str) -> list[StoredRun]:
        """The latest run of every step of an audit, in the order of its plan."""
        return self._read(read.runs, audit_id)

    def findings(
        self, *, limit: int = PAGE, after: str | None = None, **filters: Unpack[FindingFilters]
    ) -> Page[StoredFinding]:
        """Findings, newest first unless told; of an interrupted audit, those of the latest run of each step."""
        return self._read(listing.findings, limit=limit, after=after, **filters)

    def finding(self, id_or_prefix: str) -> StoredFinding:
        """The finding whose id begins so. Raises NotFound if there is none, or more than one."""
        return self._read(read.finding, id_or_prefix)
