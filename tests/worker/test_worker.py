"""A worker takes what is queued, stops without losing it, and leaves alone what it cannot do."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from registry_auditor.config import Settings
from registry_auditor.domain import AuditState, Job, ModelRef, Queue, RunStatus, Verdict
from registry_auditor.store import Store
from registry_auditor.worker import duties
from tests.worker.conftest import Broker, Workers, job, wait_until

STARTING_S = 60


@pytest.fixture
def store(sqlite_url: str, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The database of `workers`."""
    workers.environment["REGISTRY_AUDITOR_DB"] = sqlite_url
    monkeypatch.setenv("REGISTRY_AUDITOR_DB", sqlite_url)
    with Store.open(sqlite_url, banks=workers.environment["REGISTRY_AUDITOR_BANKS"]) as opened:
        yield opened


def at_work(store: Store, audit_id: str, workers: Workers) -> None:
    """Wait until the built-in analyzers of an audit wait for one that is patient."""
    wait_until(
        lambda: {each.run.step.analyzer for each in store.runs(audit_id)} >= {"deadly"},
        seconds=STARTING_S,
        told=lambda: workers.logs,
    )


@pytest.mark.slow
@pytest.mark.parametrize("queue", [Queue.CPU, Queue.GPU])
def test_a_worker_that_is_told_to_stop_gives_back_what_takes_too_long(
    queue: Queue, store: Store, workers: Workers, base: Path, fine_tunes: Any, tmp_path: Path
) -> None:
    workers.environment["REGISTRY_AUDITOR_GRACE_S"] = "1"
    (tmp_path / "wait").touch()
    audit = store.submit(replace(job(*fine_tunes(1), base), queue=queue))
    workers.start("worker", "--queue", "control", "--beat")
    worker = workers.start("worker", "--queue", queue)
    at_work(store, audit.id, workers)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0, workers.logs
    back = store.audit(audit.id)
    assert (back.state, back.claims) == (AuditState.QUEUED, 0), workers.logs  # and nobody is blamed


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_finishes_what_it_can_and_takes_nothing_else(
    store: Store, workers: Workers, base: Path, fine_tunes: Any, tmp_path: Path
) -> None:
    workers.environment["REGISTRY_AUDITOR_GRACE_S"] = "300"
    (tmp_path / "wait").touch()
    first, second = (store.submit(job(model, base)) for model in fine_tunes(2))
    worker = workers.start("worker", "--beat", "--log-format", "json")
    at_work(store, first.id, workers)
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    (tmp_path / "wait").unlink()
    assert worker.wait(30) == 0, workers.logs
    assert store.audit(first.id).verdict is Verdict.PASS
    assert store.audit(second.id).state is AuditState.QUEUED
    told = [json.loads(line) for line in workers.logs.splitlines() if line.startswith("{")]
    assert first.id in {record.get("audit_id") for record in told}


@pytest.mark.slow
def test_a_step_that_does_not_yield_is_ended_by_the_time_limit(
    store: Store, workers: Workers, broker: Broker, base: Path, fine_tunes: Any
) -> None:
    (model,) = fine_tunes(1)
    (model / "stuck").touch()
    audit = store.submit(job(model, base))
    workers.start("worker", "--queue", "cpu")
    with Celery(broker=broker.url) as app:
        app.send_task("run_audit", (audit.id,), queue="cpu", soft_time_limit=5, time_limit=60)
    wait_until(lambda: store.audit(audit.id).verdict, seconds=STARTING_S, told=lambda: workers.logs)
    done = store.audit(audit.id)
    assert done.verdict is Verdict.INCOMPLETE
    statuses = {each.run.step.analyzer: each.run.status for each in store.runs(audit.id)}
    assert statuses["stuck"] is RunStatus.TIMED_OUT


def test_an_audit_that_is_done_or_held_is_left_alone(store: Store, base: Path, fine_tunes: Any) -> None:
    held, done = (store.submit(job(model, base)) for model in fine_tunes(2))
    assert store.claim(held.id, "elsewhere:1", lease_s=60)
    store.finish(done.id, Verdict.PASS, "complete")
    for audit in (held, done):
        before = store.audit(audit.id)
        duties.take_up(audit.id, store, Settings())
        assert store.audit(audit.id) == before


def test_a_registry_out_of_reach_postpones_the_audit_and_says_so(
    store: Store, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    audit = store.submit(Job(ModelRef("mlflow", "tuned", f"1.{'0' * 32}"), plan=job(base, base).plan))
    duties.take_up(audit.id, store, Settings())
    waiting = store.audit(audit.id)
    assert waiting.state is AuditState.QUEUED
    assert "MLFLOW_TRACKING_URI" in (waiting.reason or "")
    assert store.waiting(Queue.CPU, limit=10) == []  # not due yet


def test_an_empty_queue_is_filled_and_a_full_one_is_left(store: Store, base: Path, fine_tunes: Any) -> None:
    ids = [store.submit(job(model, base)).id for model in fine_tunes(3)]
    sent: list[str] = []

    def send(arguments: tuple[str], **_: Any) -> None:
        sent.extend(arguments)

    def dispatch(depth: int) -> list[str]:
        sent.clear()
        duties.dispatch(Queue.CPU, store, Settings(), depth=depth, send=send)
        return list(sent)

    assert dispatch(0) == ids
    assert dispatch(3) == []  # they wait there
    assert dispatch(0) == ids  # the broker lost them
    assert dispatch(duties.WINDOW) == []
    store.claim(ids[0], "elsewhere:1", lease_s=60)
    assert dispatch(0) == ids[1:]


def test_a_plan_that_needs_a_gpu_waits_for_a_gpu_worker(store: Store, base: Path, fine_tunes: Any) -> None:
    (model,) = fine_tunes(1)
    planned = job(model, base)
    store.submit(Job(planned.model, planned.base, planned.base_source, plan=planned.plan, queue=Queue.GPU))
    assert store.waiting(Queue.CPU, limit=10) == []
    assert len(store.waiting(Queue.GPU, limit=10)) == 1
