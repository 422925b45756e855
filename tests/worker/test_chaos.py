"""Whatever dies in between: every audit is carried out, every step has one result, and the poisoned one is given up."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from registry_auditor.domain import AuditState, RunStatus, Verdict
from registry_auditor.errors import StoreError
from registry_auditor.store import Store
from tests.postgresql import MIGRATED
from tests.worker.conftest import Broker, Workers, job

AUDITS = 30
DEADLINE_S = 300
MISHAP_EVERY_S = 5.0
WORKER = ("worker", "--queue", "cpu")


@pytest.mark.slow
def test_nothing_is_lost_or_done_twice_whatever_dies(
    workers: Workers, broker: Broker, new_database: Callable[[str], str], base: Path, fine_tunes: Any
) -> None:
    url = new_database(MIGRATED)
    workers.environment["REGISTRY_AUDITOR_DB"] = url
    models = fine_tunes(AUDITS)
    (models[-1] / "poison").touch()
    with Store.open(url, banks=workers.environment["REGISTRY_AUDITOR_BANKS"]) as store:
        ids = [store.submit(job(model, base)).id for model in models]
        workers.start("worker", "--queue", "control", "--beat")
        victims = [workers.start(*WORKER) for _ in range(2)]
        mishaps = Mishaps(workers, broker, url, victims, ids)
        started = time.monotonic()
        while unfinished(store):
            assert time.monotonic() - started < DEADLINE_S, f"{unfinished(store)} unfinished\n{workers.logs}"
            time.sleep(MISHAP_EVERY_S)
            mishaps.happen()
        assert {"kill", "empty_broker", "drop_connections", "send_twice"} <= mishaps.happened
        assert_each_step_has_one_result(url)
        *sound, poisoned = [store.audit(audit_id) for audit_id in ids]
        assert {audit.verdict for audit in sound} == {Verdict.PASS}
        assert poisoned.verdict is Verdict.INCOMPLETE
        assert "deadly failed: given up" in (poisoned.reason or "")
        assert {stored.run.step.analyzer: stored.run.status for stored in store.runs(poisoned.id)} == {
            "deadly": RunStatus.FAILED,
            "patient": RunStatus.OK,
            "stuck": RunStatus.OK,
            "svd-diff": RunStatus.OK,
            "token-projection": RunStatus.OK,
        }
        assert not store.audits(state=AuditState.RUNNING).items


def unfinished(store: Store) -> int:
    try:
        states = (AuditState.QUEUED, AuditState.RUNNING)
        return sum(len(store.audits(state=state, limit=100).items) for state in states)
    except StoreError:  # our own connection was dropped, too
        return AUDITS


def assert_each_step_has_one_result(url: str) -> None:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT model_digest, analyzer, version, params_digest FROM runs WHERE status = 'ok'"
        ).fetchall()
    times = Counter(rows)
    assert set(times.values()) == {1}
    assert len(times) == AUDITS * 5 - 1  # of five analyzers, and one that never gets to its result


class Mishaps:
    """Everything that may go wrong, in turn."""

    def __init__(self, workers: Workers, broker: Broker, url: str, victims: list[Any], ids: list[str]) -> None:
        self._workers, self._broker, self._url, self._victims, self._ids = workers, broker, url, victims, ids
        self._turns = itertools.cycle((self.send_twice, self.kill, self.drop_connections, self.kill, self.empty_broker))
        self._chance = random.Random(0)
        self.happened: set[str] = set()

    def happen(self) -> None:
        mishap = next(self._turns)
        mishap()
        self.happened.add(mishap.__name__)

    def kill(self) -> None:
        victim = self._chance.choice(self._victims)
        self._victims.remove(victim)
        self._workers.kill(victim)
        self._victims.append(self._workers.start(*WORKER))

    def empty_broker(self) -> None:
        self._broker.restart_empty()

    def drop_connections(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def send_twice(self) -> None:
        from celery import Celery

        app = Celery(broker=self._broker.url)
        for audit_id in self._ids * 2:
            app.send_task("run_audit", (audit_id,), queue="cpu")
        app.close()
