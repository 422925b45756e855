"""Audits that people ask for by name: queued once, settled by a worker, taken back by a person."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from registry_auditor.domain import AuditState, Author, BaseSource, Job, ModelRef, Queue, Run, StepKey, Verdict
from registry_auditor.errors import Conflict, NotFound
from registry_auditor.store import Store

ME = Author("cli:me")
WISH = Job(ModelRef("hf", "org/tuned"), wish={"svd-diff": {"max_directions": 5}})
SETTLED = replace(
    WISH,
    model=ModelRef("hf", "org/tuned", "3f2a"),
    base=ModelRef("hf", "org/base", "1b2c"),
    base_source=BaseSource.CARD,
    plan=(StepKey("svd-diff", 1, "digest"),),
)


def test_a_wish_is_queued_once_and_the_log_says_who_had_it(store: Store) -> None:
    asked = store.requests.submit(WISH, by=ME)
    assert asked.job == WISH
    assert store.requests.submit(WISH, by=Author("token:ci")).id == asked.id
    other = store.requests.submit(replace(WISH, wish={"svd-diff": {}}), by=ME)
    assert other.id != asked.id
    told = [(each.by, each.action, each.target) for each in store.writes.list().items]
    assert told == [
        ("cli:me", "audits.submit", other.id),
        ("token:ci", "audits.submit", asked.id),
        ("cli:me", "audits.submit", asked.id),
    ]
    assert store.waiting(Queue.CPU, limit=10) == [asked.id, other.id]


def test_a_repeated_request_is_answered_with_the_same_audit(store: Store) -> None:
    author = Author("token:ci", key="once", request="digest")
    asked = store.requests.submit(WISH, by=author)
    store.finish(asked.id, Verdict.PASS, "")
    assert store.requests.submit(WISH, by=author).id == asked.id
    assert store.requests.submit(WISH, by=ME).id != asked.id
    with pytest.raises(Conflict, match="another request"):
        store.requests.submit(WISH, by=replace(author, request="other"))


def test_what_a_worker_has_found_out_is_the_job(store: Store) -> None:
    asked = store.requests.submit(WISH, by=ME)
    store.claim(asked.id, "worker", lease_s=60)
    found = store.requests.settle(asked.id, "worker", replace(SETTLED, queue=Queue.GPU))
    assert found.job == replace(SETTLED, queue=Queue.GPU)
    assert (found.state, found.holder) == (AuditState.RUNNING, "worker")
    store.release(asked.id, "worker")
    assert store.waiting(Queue.CPU, limit=10) == []
    assert store.waiting(Queue.GPU, limit=10) == [asked.id]
    assert store.submit(replace(SETTLED, queue=Queue.GPU)).id == asked.id
    assert store.requests.submit(WISH, by=ME).id != asked.id


def test_of_two_wishes_that_mean_the_same_the_later_waits_for_the_other(store: Store) -> None:
    first = store.requests.submit(WISH, by=ME)
    second = store.requests.submit(replace(WISH, model=ModelRef("hf", "org/tuned", "main")), by=ME)
    for audit in (first, second):
        store.claim(audit.id, f"worker of {audit.id}", lease_s=60)
    store.requests.settle(first.id, f"worker of {first.id}", SETTLED)
    with pytest.raises(Conflict, match=f"waits for audit {first.id}"):
        store.requests.settle(second.id, f"worker of {second.id}", SETTLED)
    assert store.audit(second.id).job.plan == ()
    store.finish(first.id, Verdict.PASS, "")
    assert store.requests.settle(second.id, f"worker of {second.id}", SETTLED).job == SETTLED


def test_only_the_holder_settles(store: Store) -> None:
    asked = store.requests.submit(WISH, by=ME)
    with pytest.raises(Conflict):
        store.requests.settle(asked.id, "worker", SETTLED)
    store.claim(asked.id, "worker", lease_s=60)
    for worker in ("other", ""):
        with pytest.raises(Conflict):
            store.requests.settle(asked.id, worker, SETTLED)
    assert store.audit(asked.id).job == WISH


def test_a_cancelled_audit_is_done_and_says_who_did_it_and_keeps_what_was_found(
    store: Store, job: Callable[..., Job], run: Callable[..., Run]
) -> None:
    audit = store.submit(job())
    store.claim(audit.id, "worker", lease_s=60)
    store.save(audit.id, run())
    author = Author("cli:me", key="once", request="digest")
    done = store.requests.cancel(audit.id[:23], by=author)
    assert (done.state, done.verdict, done.reason) == (AuditState.DONE, Verdict.INCOMPLETE, "cancelled by cli:me")
    assert done.finished_at is not None
    assert not store.renew(audit.id, "worker", lease_s=60)
    assert not store.claim(audit.id, "other", lease_s=60)
    assert store.finish(audit.id, Verdict.PASS, "complete").reason == "cancelled by cli:me"
    assert len(store.runs(audit.id)) == 1
    assert store.requests.cancel(audit.id, by=author) == done
    with pytest.raises(Conflict, match="done already: incomplete"):
        store.requests.cancel(audit.id, by=ME)
    with pytest.raises(NotFound):
        store.requests.cancel("ffff", by=ME)
