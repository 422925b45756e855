"""The only SQL of the product: what was audited, what was found, and the direction banks."""

from __future__ import annotations

from typing import Self, Unpack

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine

from registry_auditor.domain import Audit, BaseSource, Job, ModelRef, Run, StepKey, SubjectKey, Verdict
from registry_auditor.errors import UsageError
from registry_auditor.store import queue, read, schema, write
from registry_auditor.store.banks import BankFolder, group
from registry_auditor.store.engine import connect, parse, reading, shown, sqlite_file, writing
from registry_auditor.store.filters import AuditFilters, DirectionFilters, FindingFilters
from registry_auditor.store.records import BankInfo, Page, StoredDirection, StoredFinding, StoredRun
from registry_auditor.store.schema import Schema, SchemaState, check, upgrade

__all__ = [
    "BankInfo",
    "Page",
    "Schema",
    "SchemaState",
    "Store",
    "StoredDirection",
    "StoredFinding",
    "StoredRun",
    "check",
    "upgrade",
]

PAGE = 50
"""How many items of a list are given when nobody says how many."""


class Store:
    """One database and one place for bank files; threads may share it, processes open their own.

    Every method is one transaction. All raise StoreError, with cause and remedy, if the database cannot be used.
    """

    def __init__(self, engine: Engine, banks: BankFolder) -> None:
        """Use `Store.open`, which checks both."""
        self._engine = engine
        self._banks = banks

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
        with writing(self._engine) as session:
            return read.audit(session, queue.submit(session, job))

    def claim(self, audit_id: str, worker: str, *, lease_s: float, dead: str | None = None) -> bool:
        """Whether `worker` now holds the audit: it was queued, its lease had run out, or `dead` held it.

        `dead` is a worker that the caller knows to be gone. Of workers that ask at once, one gets True.
        """
        with writing(self._engine) as session:
            return queue.claim(session, audit_id, worker, lease_s=lease_s, dead=dead)

    def renew(self, audit_id: str, worker: str, *, lease_s: float) -> bool:
        """Whether `worker` still holds the audit; if so, for another `lease_s` seconds."""
        with writing(self._engine) as session:
            return queue.renew(session, audit_id, worker, lease_s=lease_s)

    def release(self, audit_id: str, worker: str) -> bool:
        """Whether `worker` held the audit; if so, it is queued again."""
        with writing(self._engine) as session:
            return queue.release(session, audit_id, worker)

    def set_subject(self, audit_id: str, subject: SubjectKey) -> None:
        """Afterwards the audit, and the models it names, carry the digests of what was read."""
        with writing(self._engine) as session:
            queue.set_subject(session, audit_id, subject)

    def has_run(self, subject: SubjectKey, step: StepKey) -> bool:
        """Whether this step is finished (`ok`) on this subject, for whichever audit."""
        with reading(self._engine) as session:
            return write.ok_run(session, subject, step) is not None

    def adopt(self, audit_id: str, subject: SubjectKey, step: StepKey) -> None:
        """Afterwards the audit shows the finished run of this step. Raises StoreError if there is none."""
        with writing(self._engine) as session:
            write.adopt(session, audit_id, subject, step)

    def save(self, audit_id: str, run: Run) -> None:
        """Afterwards the run, its findings and its banks are kept, and the audit shows them: all of it or nothing.

        If somebody else has finished the same step meanwhile, the audit shows that run, and this one is dropped.
        """
        with reading(self._engine) as session:
            basis = write.basis(session, audit_id, run)
        banks = group(run.directions, basis=basis)
        for bank in banks:
            self._banks.write(bank)
        with writing(self._engine) as session:
            write.save(session, audit_id, run, banks=banks)

    def finish(self, audit_id: str, verdict: Verdict, reason: str) -> Audit:
        """Afterwards the audit is done. An audit that was done keeps its verdict."""
        with writing(self._engine) as session:
            queue.finish(session, audit_id, verdict, reason)
            return read.audit(session, audit_id)

    def record_sighting(
        self, model: ModelRef, *, base: ModelRef | None = None, source: BaseSource | None = None
    ) -> None:
        """Afterwards it is known that a registry showed `model`, and who said that `base` is its base."""
        with writing(self._engine) as session:
            queue.record_sighting(session, model, base=base, source=source)

    def audit(self, id_or_prefix: str) -> Audit:
        """The audit whose id begins so. Raises NotFound if there is none, or more than one."""
        with reading(self._engine) as session:
            return read.audit(session, id_or_prefix)

    def audits(self, *, limit: int = PAGE, after: str | None = None, **filters: Unpack[AuditFilters]) -> Page[Audit]:
        """Audits, newest first."""
        with reading(self._engine) as session:
            return read.audits(session, limit=limit, after=after, **filters)

    def runs(self, audit_id: str) -> list[StoredRun]:
        """The latest run of every step of an audit, in the order of its plan."""
        with reading(self._engine) as session:
            return read.runs(session, audit_id)

    def findings(
        self, *, limit: int = PAGE, after: str | None = None, **filters: Unpack[FindingFilters]
    ) -> Page[StoredFinding]:
        """Findings, newest first; of an interrupted audit, those of the latest run of each step."""
        with reading(self._engine) as session:
            return read.findings(session, limit=limit, after=after, **filters)

    def finding(self, id_or_prefix: str) -> StoredFinding:
        """The finding whose id begins so. Raises NotFound if there is none, or more than one."""
        with reading(self._engine) as session:
            return read.finding(session, id_or_prefix)

    def directions(
        self, *, limit: int = PAGE, after: str | None = None, **filters: Unpack[DirectionFilters]
    ) -> Page[StoredDirection]:
        """Directions without their vectors, strongest first."""
        with reading(self._engine) as session:
            return read.directions(session, limit=limit, after=after, **filters)

    def bank_bytes(self, sha256: str) -> bytes:
        """A bank file, checked against its name. Raises StoreError if it is missing or was changed."""
        return self._banks.read(sha256)

    def vectors(self, sha256: str) -> npt.NDArray[np.float32]:
        """The directions of a bank, one a row. Raises StoreError if the file is missing or was changed."""
        return self._banks.vectors(sha256)
