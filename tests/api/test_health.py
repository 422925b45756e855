"""`/health`: what it tells, what it keeps to itself, and what it says when the database is away."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry_auditor.api.recent import Recent
from registry_auditor.domain import Job, ModelRef
from registry_auditor.store import Watched, check
from tests.api.answers import is_problem
from tests.api.conftest import Service, Start
from tests.api.senders import from_hub
from tests.postgresql import MIGRATED, away

PASSWORD = "correct-horse-battery-staple"


def test_a_sound_server_tells_how_things_stand(service: Service, url: str) -> None:
    service.store.ensure(Job(ModelRef("hf", "org/tuned", "3f2a")))
    polled = datetime.now(UTC) - timedelta(minutes=1)
    service.store.watched.save(Watched("dir:/models", "cursor", None, polled, None, None))
    answer = service.client.get("/health")
    told = answer.json()
    assert answer.status_code == 200
    assert told["status"] == told["database"] == "ok"
    assert told["schema"] == check(url).expected
    assert (told["waiting"], told["running"]) == (1, 0)
    assert 0 <= told["oldest_waiting_s"] < 10
    assert told["registries"] == [
        {"registry": "dir:/models", "polled_at": polled.isoformat(), "full_at": None, "problem": None}
    ]


def test_no_secret_leaves_the_server(start: Start, sqlite_url: str) -> None:
    service = start(sqlite_url)
    address = f"http://user:{PASSWORD}@mlflow.test"
    service.store.watched.save(
        Watched(f"mlflow:{address}", problem=f"{address}/api?token={PASSWORD} cannot be reached; mlflow:name@7 neither")
    )
    for path in ("/health", "/metrics"):
        told = service.client.get(path).text
        assert "mlflow.test" in told
        assert PASSWORD not in told
    problem = service.client.get("/health").json()["registries"][0]["problem"]
    assert problem.endswith("cannot be reached; mlflow:name@7 neither")


def test_an_older_schema_is_a_problem_with_a_remedy(start: Start, sqlite_url: str, tmp_path: Path) -> None:
    service = start(sqlite_url)
    with sqlite3.connect(tmp_path / "auditor.db") as connection:
        connection.execute("UPDATE registry_auditor_schema SET version_num = '0001'")
    connection.close()
    answer = service.client.get("/health")
    assert is_problem(answer, 503)
    assert "registry-auditor db upgrade" in answer.json()["detail"]
    assert "registry_auditor_database_up 0.0" in service.client.get("/metrics").text


def test_while_the_database_is_away_senders_are_asked_to_come_back(
    start: Start, new_database: Callable[[str], str]
) -> None:
    address = new_database(MIGRATED)
    service = start(address)
    assert service.post(from_hub()).status_code == 202
    with away(address) as name:
        for answer in (service.post(from_hub()), service.client.get("/health")):
            assert is_problem(answer, 503)
            assert name not in answer.text
        assert int(service.post(from_hub()).headers["retry-after"]) > 0
        told = service.client.get("/metrics").text
        assert 'hook_deliveries_total{outcome="unavailable",source="hf"} 2.0' in told
    assert service.post(from_hub()).status_code == 202
    assert len(service.targets()) == 1


def test_asking_often_does_not_ask_the_database_often() -> None:
    asked: list[float] = []
    recent = Recent(lambda: asked.append(time.monotonic()), fresh_s=0.2)
    for _ in range(1000):
        recent()
    assert len(asked) == 1
    time.sleep(0.25)
    recent()
    assert len(asked) == 2


def test_a_failed_reading_is_not_kept() -> None:
    answers: list[Callable[[], int]] = [lambda: 1 // 0, lambda: 7]
    recent = Recent(lambda: answers.pop(0)())
    with pytest.raises(ZeroDivisionError):
        recent()
    assert recent() == 7
