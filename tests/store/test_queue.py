import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from registry_auditor.domain import AuditState, BaseSource, Job, ModelRef, Severity, SubjectKey, Verdict
from registry_auditor.errors import NotFound
from registry_auditor.store import Store
from registry_auditor.store.engine import connect, parse
from registry_auditor.store.tables import ModelRow, SightingRow

JobMaker = Callable[..., Job]


def test_a_job_comes_back_as_it_was_submitted(store: Store, job: JobMaker) -> None:
    before = datetime.now(UTC)
    audit = store.submit(job())
    assert audit.job == job()
    assert audit.state is AuditState.QUEUED
    assert (audit.verdict, audit.reason, audit.started_at, audit.finished_at, audit.holder) == (None,) * 5
    assert audit.claims == 0
    assert before <= audit.queued_at <= datetime.now(UTC)
    assert store.audit(audit.id) == audit


def test_a_model_without_revision_or_base_comes_back_without(store: Store, job: JobMaker) -> None:
    bare = job(model=ModelRef("dir", "/models/x"), base=None, base_source=None)
    assert store.submit(bare).job == bare


def test_an_equal_job_joins_the_unfinished_audit(store: Store, job: JobMaker) -> None:
    first = store.submit(job())
    assert store.submit(job(base_source=BaseSource.OPERATOR)) == first
    store.claim(first.id, "worker", lease_s=60)
    assert store.submit(job()).id == first.id


@pytest.mark.parametrize(
    "change",
    [
        {"model": ModelRef("hf", "org/tuned", "other")},
        {"base": None},
        {"fail_on": Severity.LOW},
        {"plan": ()},
    ],
)
def test_another_job_is_another_audit(store: Store, job: JobMaker, change: dict[str, object]) -> None:
    assert store.submit(job()).id != store.submit(job(**change)).id


def test_a_finished_job_is_queued_anew(store: Store, job: JobMaker) -> None:
    first = store.submit(job())
    store.finish(first.id, Verdict.PASS, "nothing found")
    assert store.submit(job()).id != first.id


def test_threads_that_submit_the_same_job_get_the_same_audit(store: Store, job: JobMaker) -> None:
    with ThreadPoolExecutor(8) as pool:
        audits = list(pool.map(store.submit, [job()] * 16))
    assert len({audit.id for audit in audits}) == 1
    assert len(store.audits().items) == 1


def test_threads_that_claim_one_audit_have_one_winner(store: Store, job: JobMaker) -> None:
    audit = store.submit(job())
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.claim(audit.id, f"worker-{n}", lease_s=60), range(8)))
    assert sum(won) == 1
    assert store.audit(audit.id).holder == f"worker-{won.index(True)}"
    assert store.audit(audit.id).claims == 1


def test_processes_that_claim_the_same_audits_share_them_out(
    store: Store, url: str, banks: str, job: JobMaker, at_once: Callable[..., list[str]]
) -> None:
    ids = [store.submit(job(f"org/model-{n}")).id for n in range(20)]
    script = """
from registry_auditor.store import Store
url, banks, *ids, worker = sys.argv[1:]
with Store.open(url, banks=banks) as store:
    store.audits()
    pause()
    print(*[audit_id for audit_id in ids if store.claim(audit_id, worker, lease_s=60)])
"""
    claimed = [output.split() for output in at_once(script, url, banks, *ids)]
    assert sorted(claimed[0] + claimed[1]) == sorted(ids)


def test_a_claim_names_the_worker_and_its_lease(store: Store, job: JobMaker) -> None:
    audit = store.submit(job())
    before = datetime.now(UTC)
    assert store.claim(audit.id, "worker", lease_s=60)
    held = store.audit(audit.id)
    assert (held.state, held.holder, held.claims) == (AuditState.RUNNING, "worker", 1)
    assert held.started_at is not None
    assert held.lease_expires_at is not None
    assert before <= held.started_at <= datetime.now(UTC)
    assert held.lease_expires_at - held.started_at == timedelta(seconds=60)
    assert held.lease_expires_at.tzinfo is UTC


def test_a_held_audit_is_not_claimed_even_by_its_holder(store: Store, job: JobMaker) -> None:
    audit = store.submit(job())
    assert store.claim(audit.id, "worker", lease_s=60)
    assert not store.claim(audit.id, "worker", lease_s=60)
    assert not store.claim(audit.id, "other", lease_s=60)
    assert not store.claim(audit.id, "other", lease_s=60, dead="somebody else")


def test_an_expired_lease_is_taken_over_and_the_start_kept(store: Store, job: JobMaker) -> None:
    audit = store.submit(job())
    assert store.claim(audit.id, "slow", lease_s=0.01)
    started = store.audit(audit.id).started_at
    time.sleep(0.05)
    assert store.claim(audit.id, "next", lease_s=60)
    taken = store.audit(audit.id)
    assert (taken.holder, taken.claims, taken.started_at) == ("next", 2, started)
    assert not store.renew(audit.id, "slow", lease_s=60)
    assert not store.release(audit.id, "slow")


def test_a_renewed_lease_is_not_taken_over(store: Store, job: JobMaker) -> None:
    audit = store.submit(job())
    assert store.claim(audit.id, "worker", lease_s=0.01)
    time.sleep(0.05)
    assert store.renew(audit.id, "worker", lease_s=60)
    assert not store.claim(audit.id, "other", lease_s=60)


def test_a_released_audit_waits_again(store: Store, job: JobMaker) -> None:
    audit = store.submit(job())
    assert store.claim(audit.id, "worker", lease_s=60)
    assert store.release(audit.id, "worker")
    assert store.audit(audit.id).state is AuditState.QUEUED
    assert store.audit(audit.id).lease_expires_at is None
    assert store.claim(audit.id, "other", lease_s=60)


def test_the_audit_of_a_killed_worker_is_taken_over(
    store: Store, url: str, banks: str, job: JobMaker, process: Callable[..., object]
) -> None:
    audit = store.submit(job())
    script = """
from registry_auditor.store import Store
store = Store.open(sys.argv[1], banks=sys.argv[2])
assert store.claim(sys.argv[3], "victim", lease_s=float(sys.argv[4]))
pause()
"""
    victim = process(script, url, banks, audit.id, "3600")
    victim.wait_until_ready()
    victim.kill()
    assert not store.claim(audit.id, "heir", lease_s=0.01)
    assert store.claim(audit.id, "heir", lease_s=0.01, dead="victim")

    time.sleep(0.05)
    second = process(script, url, banks, audit.id, "0.5")
    second.wait_until_ready()
    second.kill()
    deadline = time.monotonic() + 10
    while not store.claim(audit.id, "heir", lease_s=60):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert store.audit(audit.id).claims == 4


def test_an_audit_ends_once(store: Store, job: JobMaker) -> None:
    audit = store.submit(job())
    store.claim(audit.id, "worker", lease_s=60)
    done = store.finish(audit.id, Verdict.FAIL, "one high finding")
    assert (done.state, done.verdict, done.reason) == (AuditState.DONE, Verdict.FAIL, "one high finding")
    assert done.finished_at is not None
    assert (done.holder, done.lease_expires_at) == ("worker", None)
    assert store.finish(audit.id, Verdict.PASS, "too late") == done
    assert not store.claim(audit.id, "other", lease_s=60)
    assert not store.renew(audit.id, "worker", lease_s=60)
    assert not store.release(audit.id, "worker")


def test_an_unknown_audit_cannot_be_claimed_or_finished(store: Store) -> None:
    assert not store.claim("nonsense", "worker", lease_s=60)
    with pytest.raises(NotFound, match="audits list"):
        store.finish("nonsense", Verdict.PASS, "")


def test_an_audit_carries_the_digests_of_what_was_read(store: Store, job: JobMaker, subject: SubjectKey) -> None:
    audit = store.submit(job())
    assert audit.subject is None
    store.set_subject(audit.id, subject)
    assert store.audit(audit.id).subject == subject
    alone = replace(subject, base=None)
    store.set_subject(audit.id, alone)
    assert store.audit(audit.id).subject == alone


def test_a_model_is_registered_once_with_its_digest(store: Store, url: str, job: JobMaker, subject: SubjectKey) -> None:
    for fail_on in Severity:
        store.set_subject(store.submit(job(fail_on=fail_on)).id, subject)
    engine = connect(parse(url))
    with engine.connect() as connection:
        models = connection.execute(sa.select(ModelRow.name, ModelRow.digest).order_by(ModelRow.id)).all()
    engine.dispose()
    assert models == [("org/tuned", "tuned-digest"), ("org/base", "base-digest")]


def test_a_sighting_is_kept_once_a_claim_about_the_base(store: Store, url: str, job: JobMaker) -> None:
    model, base = job().model, job().base
    for _ in range(3):
        store.sightings.record(model)
        store.sightings.record(model, base=base, source=BaseSource.CARD)
        store.sightings.record(model, base=base, source=BaseSource.MEASURED)
    engine = connect(parse(url))
    with sa.orm.Session(engine) as session:
        sightings = session.scalars(sa.select(SightingRow).order_by(SightingRow.id)).all()
        assert [row.source for row in sightings] == [None, BaseSource.CARD, BaseSource.MEASURED]
        assert all(row.first_seen_at < row.last_seen_at for row in sightings)
    engine.dispose()


def test_a_time_without_a_zone_is_refused_and_another_zone_converted(url: str) -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    values = {"model_id": 1, "first_seen_at": noon, "last_seen_at": noon}
    engine = connect(parse(url))
    with engine.begin() as connection:
        connection.execute(sa.insert(ModelRow).values({"registry": "hf", "name": "x", "revision": ""}))
        connection.execute(sa.insert(SightingRow).values(values))
        kept = connection.scalar(sa.select(SightingRow.first_seen_at))
    assert kept == noon
    assert kept.tzinfo is UTC
    naive = sa.insert(SightingRow).values(values | {"first_seen_at": datetime(2026, 7, 1)})  # noqa: DTZ001  # the point
    with pytest.raises(sa.exc.StatementError, match="has no time zone"), engine.begin() as connection:
        connection.execute(naive)
    engine.dispose()
