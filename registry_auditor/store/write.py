"""Keeping results: a run commits with its findings, banks and place in the audit, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry_auditor.domain import Run, RunStatus, StepKey, SubjectKey
from registry_auditor.errors import StoreError
from registry_auditor.store import rows
from registry_auditor.store.banks import Bank
from registry_auditor.store.engine import insert, now
from registry_auditor.store.queue import locked
from registry_auditor.store.tables import (
    AuditRow,
    AuditRunRow,
    BankRow,
    DirectionRow,
    FindingRow,
    KindRow,
    ModelRow,
    RunBankRow,
    RunRow,
    TallyRow,
)


def finished(session: Session, subject: SubjectKey, steps: Collection[StepKey]) -> set[StepKey]:
    """Those of `steps` that have a finished run on this subject."""
    found = select(RunRow.analyzer, RunRow.version, RunRow.params_digest).where(
        RunRow.status == RunStatus.OK,
        RunRow.model_digest == subject.model,
        RunRow.base_digest == (subject.base or ""),
        RunRow.analyzer.in_({step.analyzer for step in steps}),
    )
    return {StepKey(*row) for row in session.execute(found)} & set(steps)


def ok_run(session: Session, subject: SubjectKey, step: StepKey) -> str | None:
    """The id of the finished run of this step on this subject."""
    key = [getattr(RunRow, name) == value for name, value in rows.run_key(subject, step).items()]
    return session.scalar(select(RunRow.id).where(RunRow.status == RunStatus.OK, *key))


def adopt(session: Session, audit_id: str, subject: SubjectKey, step: StepKey) -> None:
    """Afterwards the audit shows the finished run of this step, whichever audit paid for it."""
    run_id = ok_run(session, subject, step)
    if run_id is None:
        raise StoreError(f"audit {audit_id}: {step.analyzer} has not been run on {subject.model} yet; run it first")
    _show(session, locked(session, audit_id), run_id, step=step, status=RunStatus.OK)


def save(session: Session, audit_id: str, run: Run, *, banks: list[Bank]) -> None:
    """Afterwards the audit shows this run; or, if somebody else has finished the same step meanwhile, that one.

    The files of `banks` must exist already, so that no row ever names a missing file.
    """
    audit = locked(session, audit_id)
    time = now(session)
    values = rows.run_values(run, audit_id=audit_id, now=time)
    statement = insert(session, RunRow).values(values).on_conflict_do_nothing().returning(RunRow.id)
    if session.scalar(statement) is None:
        run_id = ok_run(session, run.subject, run.step)
        if run_id is None:
            raise StoreError(f"audit {audit_id}: the run of {run.step.analyzer} vanished while it was saved; try again")
        _show(session, audit, run_id, step=run.step, status=RunStatus.OK)
        return
    _add_findings(session, audit, run, run_id=values["id"], now=time)
    # In one order everywhere: two savers that lock the same banks must not wait for each other.
    for position, bank in sorted(enumerate(banks), key=lambda place: place[1].sha256):
        _add_bank(session, bank, time)
        session.execute(
            insert(session, RunBankRow)
            .values(run_id=values["id"], bank_sha256=bank.sha256, position=position)
            .on_conflict_do_nothing()
        )
    _show(session, audit, values["id"], step=run.step, status=run.status)


def claimed_base(session: Session, audit_id: str) -> str:
    """The reference of the base, for an audit that could not read it (an adapter's); '' if there is none."""
    base = session.scalar(
        select(ModelRow).join(AuditRow, AuditRow.base_id == ModelRow.id).where(AuditRow.id == audit_id)
    )
    return "" if base is None else str(rows.model_ref(base))


def _add_findings(session: Session, audit: AuditRow, run: Run, *, run_id: str, now: datetime) -> None:
    if not run.findings:
        return
    model = rows.model_ref(session.get_one(ModelRow, audit.model_id))
    session.execute(
        insert(session, FindingRow),
        [
            rows.finding_values(finding, model=model, analyzer=run.step.analyzer)
            | {"run_id": run_id, "ordinal": ordinal, "created_at": now}
            for ordinal, finding in enumerate(run.findings)
        ],
        execution_options={"render_nulls": True},  # one statement, whatever some of them lack
    )
    kinds = sorted({(finding.code, finding.severity) for finding in run.findings})
    session.execute(
        insert(session, KindRow).on_conflict_do_nothing(),
        [{"code": code, "severity": severity, "analyzer": run.step.analyzer} for code, severity in kinds],
    )
    tally = Counter(finding.severity for finding in run.findings)
    session.execute(
        insert(session, TallyRow),
        [{"run_id": run_id, "severity": severity, "findings": count} for severity, count in tally.items()],
    )


def _add_bank(session: Session, bank: Bank, now: datetime) -> None:
    values = {
        "sha256": bank.sha256,
        "basis": bank.basis,
        "dimension": bank.dimension,
        "directions": len(bank.directions),
        "size_bytes": bank.size_bytes,
        "created_at": now,
        "sketches": bank.sketches,
    }
    session.execute(insert(session, BankRow).values(values).on_conflict_do_nothing())
    directions = insert(session, DirectionRow)
    session.execute(
        # The analyzer that finds directions and the one that reads them share these rows.
        directions.on_conflict_do_update(
            index_elements=["bank_sha256", "ordinal"],
            set_={"tokens": func.coalesce(DirectionRow.tokens, directions.excluded.tokens)},
        ),
        [
            rows.direction_values(direction) | {"bank_sha256": bank.sha256, "ordinal": ordinal}
            for ordinal, direction in enumerate(bank.directions)
        ],
    )


def _show(session: Session, audit: AuditRow, run_id: str, *, step: StepKey, status: RunStatus) -> None:
    """Put a run at its step's place in the plan, or after it if the plan has no such step.

    It takes the place of an earlier attempt at the step, unless that one was `ok` and this one is not.
    """
    shown = session.execute(
        select(AuditRunRow, RunRow.status, RunRow.analyzer, RunRow.version, RunRow.params_digest)
        .join(RunRow, RunRow.id == AuditRunRow.run_id)
        .where(AuditRunRow.audit_id == audit.id)
    ).all()
    for link, before, analyzer, version, params in shown:
        if StepKey(analyzer, version, params) == step:
            if before is not RunStatus.OK or status is RunStatus.OK:
                link.run_id = run_id
            return
    plan = rows.plan_of(audit)
    after_all = max([len(plan) - 1, *(row[0].position for row in shown)]) + 1
    position = plan.index(step) if step in plan else after_all
    session.add(AuditRunRow(audit_id=audit.id, position=position, run_id=run_id))
