"""What a database of an earlier release holds is there after the upgrade, and means the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from registry_auditor.domain import AuditState, Finding, Job, ModelRef, Queue, Run, Severity, StepKey, Verdict
from registry_auditor.store import Store, upgrade
from registry_auditor.store.columns import UtcDateTime
from registry_auditor.store.engine import connect, parse
from registry_auditor.store.rows import job_digest
from registry_auditor.store.schema import MIGRATIONS

JOB = Job(ModelRef("hf", "org/tuned", "3f2a"), None, None, Severity.HIGH, (StepKey("svd-diff", 1, "digest"),))
JOB_DIGEST = "a914e81e1e34e42c55ed2ce5d511ef9ecc81da42ab619d08de92e55e28c99659"
"""As the first release kept it."""

QUEUED = "01a00000-0000-7000-8000-000000000001"
RUNNING = "01a00000-0000-7000-8000-000000000002"
DONE = "01a00000-0000-7000-8000-000000000003"

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
LEASE_END = NOON + timedelta(minutes=30)

MODEL = "INSERT INTO models (registry, name, revision) VALUES ('hf', 'org/tuned', '3f2a')"
SIGHTING = (
    "INSERT INTO sightings (model_id, first_seen_at, last_seen_at) "
    "VALUES (1, '2026-07-01 12:00:00.000000', '2026-07-01 13:00:00.000000')"
)
AUDIT = sa.text("""
INSERT INTO audits (id, model_id, fail_on, plan, job_digest, state, verdict, reason, queued_at, claims, holder,
                    lease_expires_at)
VALUES (:id, 1, 'high', '[["svd-diff",1,"digest"]]', :digest, :state, :verdict, NULL,
        :queued, 1, 'worker', :lease)
""").bindparams(sa.bindparam("queued", NOON, type_=UtcDateTime()), sa.bindparam("lease", type_=UtcDateTime()))
RUN = """
INSERT INTO runs (id, audit_id, model_digest, base_digest, analyzer, version, params_digest, params, status, seconds,
                  device, coverage_seen, coverage_skipped, created_at)
VALUES (:id, :id, 'm', '', 'svd-diff', 1, 'digest', '{}', 'ok', 1.5, 'cpu', 3, '[]', '2026-07-01 12:00:00.000000')
"""


@contextmanager
def closing_engine(url: str) -> Iterator[sa.Engine]:
    engine = connect(parse(url))
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def at(url: str, revision: str) -> Iterator[sa.Connection]:
    """A connection to the database after a migration, up or down, to this revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with closing_engine(url) as engine, engine.begin() as connection:
        config.attributes["connection"] = connection
        present = sa.inspect(connection).has_table("notices")
        (command.downgrade if present else command.upgrade)(config, revision)
        yield connection


def fill(connection: sa.Connection) -> None:
    connection.execute(sa.text(MODEL))
    connection.execute(sa.text(SIGHTING))
    audits = [
        {"id": QUEUED, "digest": JOB_DIGEST, "state": "queued", "verdict": None, "lease": None},
        {"id": RUNNING, "digest": "other", "state": "running", "verdict": None, "lease": LEASE_END},
        {"id": DONE, "digest": JOB_DIGEST, "state": "done", "verdict": "pass", "lease": None},
    ]
    connection.execute(AUDIT, audits)
    connection.execute(sa.text(RUN), {"id": DONE})


def test_the_digest_of_a_job_is_that_of_the_first_release() -> None:
    assert job_digest(JOB) == JOB_DIGEST


def test_audits_of_the_first_release_are_due_when_they_were_queued_or_their_lease_ends(
    empty_url: str, banks: str
) -> None:
    with at(empty_url, "0001") as connection:
        fill(connection)
    assert upgrade(empty_url)[0] == "0001"
    with Store.open(empty_url, banks=banks) as store:
        assert store.waiting(Queue.CPU, limit=10, unsent=True) == [QUEUED, RUNNING]
        assert store.submit(JOB).id == QUEUED
        assert store.ensure(JOB)[0].id == DONE
        assert store.audit(QUEUED).job == JOB
        running, done = store.audit(RUNNING), store.audit(DONE)
        assert (running.state, running.holder) == (AuditState.RUNNING, "worker")
        assert running.lease_expires_at == LEASE_END
        assert done.verdict is Verdict.PASS
        assert len(store.sightings.list().items) == 1
        assert store.run_totals()[0].count == 1


def test_going_back_to_the_first_release_keeps_what_it_knew(empty_url: str, banks: str) -> None:
    with at(empty_url, "0001") as connection:
        fill(connection)
    upgrade(empty_url)
    with Store.open(empty_url, banks=banks) as store:
        store.finish(QUEUED, Verdict.FAIL, "one high finding", notify=["chat"])
    with at(empty_url, "0001") as connection:
        states = connection.execute(sa.text("SELECT id, state FROM audits ORDER BY id")).all()
        assert states == [(QUEUED, "done"), (RUNNING, "running"), (DONE, "done")]
        assert connection.scalar(sa.text("SELECT count(*) FROM runs")) == 1
    upgrade(empty_url)
    with Store.open(empty_url, banks=banks) as store:
        assert store.waiting(Queue.CPU, limit=10) == [RUNNING]
        assert store.notices.list().items == ()


def test_an_upgraded_database_takes_new_audits(empty_url: str, banks: str, job: Callable[..., Job]) -> None:
    with at(empty_url, "0001") as connection:
        fill(connection)
    upgrade(empty_url)
    with Store.open(empty_url, banks=banks) as store:
        audit, queued = store.ensure(job(queue=Queue.GPU))
        assert queued
        assert store.waiting(Queue.GPU, limit=10) == [audit.id]


def test_findings_are_counted_and_found_by_their_words_as_before(
    empty_url: str, banks: str, job: Callable[..., Job], run: Callable[..., Run], finding: Finding
) -> None:
    upgrade(empty_url)
    asked: list[object] = []
    with Store.open(empty_url, banks=banks) as store:
        audit = store.submit(job())
        store.save(audit.id, run(findings=(finding, replace(finding, severity=Severity.LOW))))
        store.finish(audit.id, Verdict.FAIL, "one high finding")
        asked.append(told(store, finding))
    for revision in ("0005", "0003"):
        with at(empty_url, revision):
            pass
        upgrade(empty_url)
        with Store.open(empty_url, banks=banks) as store:
            asked.append(told(store, finding))
    assert asked[0] == asked[1] == asked[2]
    assert asked[0] == ({**dict.fromkeys(Severity, 0), finding.severity: 1, Severity.LOW: 1}, 2)


def told(store: Store, finding: Finding) -> tuple[dict[Severity, int], int]:
    """What all models show, and how many findings say what this one says."""
    return store.models.severities(), len(store.findings(text=finding.message.split()[0]).items)
