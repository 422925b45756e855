import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from registry_auditor.domain import Audit, AuditState, Job, ModelRef, Queue, Severity, Verdict
from registry_auditor.store import Backlog, Store

JobMaker = Callable[..., Job]


def waiting(store: Store, *, unsent: bool = False) -> list[str]:
    return store.waiting(Queue.CPU, limit=100, unsent=unsent)


@pytest.fixture
def audit(store: Store, job: JobMaker) -> Audit:
    return store.submit(job())


def test_the_queue_of_a_job_is_kept_and_is_no_part_of_what_it_asks_for(store: Store, job: JobMaker) -> None:
    audit = store.submit(job(queue=Queue.GPU))
    assert audit.job == job(queue=Queue.GPU)
    assert store.submit(job(queue=Queue.CPU)) == audit


def test_what_waits_is_told_oldest_first_for_each_queue(store: Store, job: JobMaker) -> None:
    ids = [store.submit(job(f"org/{n}")).id for n in range(5)]
    other = store.submit(job("org/large", queue=Queue.GPU)).id
    assert waiting(store) == ids
    assert store.waiting(Queue.CPU, limit=2) == ids[:2]
    assert store.waiting(Queue.GPU, limit=2) == [other]


def test_what_is_held_or_done_does_not_wait(store: Store, job: JobMaker) -> None:
    held, done, queued = (store.submit(job(f"org/{n}")).id for n in range(3))
    assert store.claim(held, "worker", lease_s=60)
    store.finish(done, Verdict.PASS, "")
    assert waiting(store) == [queued]


def test_an_audit_whose_lease_ran_out_waits_again(store: Store, audit: Audit) -> None:
    assert store.claim(audit.id, "worker", lease_s=0.05)
    assert waiting(store) == []
    time.sleep(0.1)
    assert waiting(store) == [audit.id]
    assert store.audit(audit.id).state is AuditState.RUNNING
    assert store.renew(audit.id, "worker", lease_s=60)
    assert waiting(store) == []


def test_what_the_broker_has_is_not_told_to_who_asks_for_the_unsent(store: Store, job: JobMaker) -> None:
    first, second = (store.submit(job(f"org/{n}")).id for n in range(2))
    store.sent([first])
    assert waiting(store, unsent=True) == [second]
    assert waiting(store) == [first, second]
    store.sent([])


@pytest.mark.parametrize("way", ["released", "postponed", "abandoned", "abandoned after a renewal"])
def test_what_waits_anew_is_unsent_again(store: Store, audit: Audit, way: str) -> None:
    store.sent([audit.id])
    assert store.claim(audit.id, "worker", lease_s=0.05 if way == "abandoned" else 60)
    store.sent([audit.id])  # late: the worker was faster
    if way == "released":
        assert store.release(audit.id, "worker")
    elif way == "postponed":
        assert store.postpone(audit.id, "worker", delay_s=0, reason="the registry is away")
    elif way == "abandoned after a renewal":
        assert store.renew(audit.id, "worker", lease_s=0.05)
    time.sleep(0.1)
    assert waiting(store, unsent=True) == [audit.id]


def test_a_claim_that_is_given_back_does_not_count_and_its_place_is_kept(store: Store, job: JobMaker) -> None:
    ids = [store.submit(job(f"org/{n}")).id for n in range(3)]
    assert store.claim(ids[0], "worker", lease_s=60)
    assert store.release(ids[0], "worker")
    assert store.audit(ids[0]).claims == 0
    assert waiting(store) == ids


def test_a_postponed_audit_says_why_waits_and_does_not_count_the_claim(store: Store, audit: Audit) -> None:
    assert store.claim(audit.id, "worker", lease_s=60)
    assert store.postpone(audit.id, "worker", delay_s=0.2, reason="the registry answers 503")
    postponed = store.audit(audit.id)
    assert (postponed.state, postponed.reason, postponed.claims) == (AuditState.QUEUED, "the registry answers 503", 0)
    assert waiting(store) == []
    assert not store.claim(audit.id, "other", lease_s=60)
    time.sleep(0.25)
    assert waiting(store) == [audit.id]
    assert store.claim(audit.id, "other", lease_s=60)
    assert store.audit(audit.id).reason == "the registry answers 503"
    assert store.finish(audit.id, Verdict.PASS, "nothing found").reason == "nothing found"


def test_only_its_holder_postpones_an_audit(store: Store, audit: Audit) -> None:
    assert not store.postpone(audit.id, "worker", delay_s=60, reason="")
    assert store.claim(audit.id, "worker", lease_s=60)
    assert not store.postpone(audit.id, "other", delay_s=60, reason="")
    assert not store.postpone("nonsense", "worker", delay_s=60, reason="")
    assert store.audit(audit.id).state is AuditState.RUNNING


def test_a_job_is_ensured_once_whatever_became_of_it(store: Store, job: JobMaker) -> None:
    audit, queued = store.ensure(job())
    assert queued
    assert audit.job == job()
    assert store.ensure(job()) == (audit, False)
    assert store.claim(audit.id, "worker", lease_s=60)
    assert store.ensure(job())[0].state is AuditState.RUNNING
    done = store.finish(audit.id, Verdict.ERROR, "no such file")
    assert store.ensure(job()) == (done, False)
    assert store.ensure(job(fail_on=Severity.LOW))[1]


def test_the_newest_of_equal_audits_is_the_one_that_counts(store: Store, job: JobMaker) -> None:
    store.finish(store.submit(job()).id, Verdict.PASS, "")
    second = store.submit(job())
    assert store.ensure(job()) == (second, False)


def test_threads_that_ensure_the_same_job_get_the_same_audit(store: Store, job: JobMaker) -> None:
    def at_its_end(number: int) -> tuple[str, bool]:
        audit, queued = store.ensure(job(base=ModelRef("hf", "org/base", "1b2c")))
        store.finish(audit.id, Verdict.PASS, "as soon as it is there")
        return audit.id, queued

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(at_its_end, range(16)))
    assert len({audit_id for audit_id, _ in answers}) == 1
    assert sum(queued for _, queued in answers) == 1


def test_processes_that_ensure_the_same_jobs_queue_each_once(
    store: Store, url: str, banks: str, at_once: Callable[..., list[str]]
) -> None:
    script = """
from registry_auditor.domain import Job, ModelRef
from registry_auditor.store import Store
url, banks, number = sys.argv[1:]
with Store.open(url, banks=banks) as store:
    store.audits()
    pause()
    jobs = [Job(ModelRef("hf", f"org/{n}"), ModelRef("hf", f"org/{n + 1}")) for n in range(20)]
    print(sum(store.ensure(job)[1] for job in (jobs if number == "0" else reversed(jobs))))
"""
    assert sum(map(int, at_once(script, url, banks))) == 20
    assert len(store.audits(limit=1000).items) == 20


def test_the_backlog_tells_what_waits_and_since_when(store: Store, job: JobMaker) -> None:
    nothing = [Backlog(Queue.CPU, 0, 0, None), Backlog(Queue.GPU, 0, 0, None)]
    assert store.backlog() == nothing
    held, lost, postponed, done = (store.submit(job(f"org/{n}")) for n in range(4))
    for audit in (held, lost, postponed):
        assert store.claim(audit.id, "worker", lease_s=0.01 if audit is lost else 60)
    assert store.postpone(postponed.id, "worker", delay_s=60, reason="")
    store.finish(done.id, Verdict.PASS, "")
    time.sleep(0.05)
    lease = store.audit(lost.id).lease_expires_at
    assert store.backlog() == [Backlog(Queue.CPU, 2, 1, lease), nothing[1]]
    large = store.submit(job("org/large", queue=Queue.GPU))
    assert store.backlog() == [Backlog(Queue.CPU, 2, 1, lease), Backlog(Queue.GPU, 1, 0, large.queued_at)]
    assert store.release(held.id, "worker")
    assert replace(store.backlog()[0], waiting=0) == Backlog(Queue.CPU, 0, 0, held.queued_at)


def test_the_server_tells_the_time_to_machines_whose_clocks_differ(
    postgres_url: str, job: JobMaker, counted: Callable[..., list[str]]
) -> None:
    with Store.open(postgres_url, banks="memory://banks") as store:
        audit = store.submit(job())
        for work in (lambda: waiting(store), lambda: store.claim(audit.id, "worker", lease_s=60)):
            assert counted(store, work)[0].startswith("SELECT clock_timestamp()")
