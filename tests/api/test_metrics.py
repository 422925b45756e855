"""`/metrics`: what a Prometheus server reads."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from registry_auditor.domain import Coverage, Job, ModelRef, Run, RunStatus, StepKey, SubjectKey, Verdict
from registry_auditor.store import Watched
from tests.api.conftest import Service
from tests.api.senders import OTHER_SECRET, from_hub, from_mlflow, push

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(service: Service) -> Samples:
    text = service.client.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"registry_auditor_{name}", frozenset(labels.items())]


@pytest.fixture
def busy(service: Service) -> Service:
    """A server with one queued audit, one running, one failed run and two good ones."""
    store = service.store
    ids = [store.ensure(Job(ModelRef("hf", f"org/{name}", "3f2a")))[0].id for name in ("first", "second")]
    assert store.claim(ids[0], "worker", lease_s=60)
    for number, (status, seconds) in enumerate([(RunStatus.OK, 1.5), (RunStatus.OK, 2.0), (RunStatus.FAILED, 0.25)]):
        run = Run(
            step=StepKey("svd-diff", number + 1, "params"),
            subject=SubjectKey("tuned", "base"),
            params={},
            status=status,
            reason=None if status is RunStatus.OK else "it broke",
            seconds=seconds,
            device="cpu",
            peak_memory_bytes=None,
            coverage=Coverage(1),
        )
        store.save(ids[0], run)
    done = store.ensure(Job(ModelRef("hf", "org/third", "3f2a")))[0].id
    store.finish(done, Verdict.PASS, "nothing found", notify=("ops", "chat"))
    (first, _) = store.notices.due(limit=2, lease_s=60)
    store.notices.sent(first.id)
    store.watched.save(Watched("dir:/models", problem="it is gone"))
    return service


def test_the_queue_and_the_analyzers_are_told(busy: Service) -> None:
    samples = scraped(busy)
    assert value(samples, "queue_depth", queue="cpu", state="waiting") == 1
    assert value(samples, "queue_depth", queue="cpu", state="running") == 1
    assert value(samples, "queue_depth", queue="gpu", state="waiting") == 0
    assert 0 <= value(samples, "oldest_queued_seconds", queue="cpu") < 30
    assert value(samples, "analyzer_seconds_count", analyzer="svd-diff", status="ok") == 2
    assert value(samples, "analyzer_seconds_sum", analyzer="svd-diff", status="ok") == 3.5
    assert value(samples, "analyzer_seconds_count", analyzer="svd-diff", status="failed") == 1
    assert value(samples, "registry_failing", registry="dir:/models") == 1
    assert value(samples, "notices", state="sent") == 1
    assert value(samples, "notices", state="waiting") == 1
    assert value(samples, "notices", state="given_up") == 0
    assert value(samples, "database_up") == 1
    assert value(samples, "build_info", version=version("registry-auditor")) == 1


def deliver(service: Service) -> Iterator[int]:
    yield service.post(from_hub()).status_code
    yield service.post(from_hub()).status_code
    yield service.post(from_hub(push(event={"action": "create", "scope": "discussion"}))).status_code
    yield service.post(from_hub(b"{")).status_code
    yield service.post(from_hub(secret=OTHER_SECRET)).status_code
    yield service.post(from_hub(b" " * (2**20 + 1))).status_code
    yield service.client.post("/hooks/whatever/x").status_code
    yield service.client.post("/hooks/whatever-else/x").status_code
    yield service.post(from_mlflow()).status_code


def test_deliveries_are_counted_by_what_became_of_them(service: Service) -> None:
    before = scraped(service)
    assert value(before, "hook_deliveries_total", source="hf", outcome="accepted") == 0
    assert list(deliver(service)) == [202, 202, 202, 400, 401, 413, 401, 401, 202]
    samples = scraped(service)
    expected = {"accepted": 2, "ignored": 1, "malformed": 1, "unauthorized": 1, "too_large": 1, "unavailable": 0}
    for outcome, count in expected.items():
        assert value(samples, "hook_deliveries_total", source="hf", outcome=outcome) == count, outcome
    assert value(samples, "hook_deliveries_total", source="unknown", outcome="unauthorized") == 2
    assert value(samples, "hook_duplicates_total") == 1


def test_every_name_ends_as_prometheus_asks_and_is_explained(busy: Service) -> None:
    text = busy.client.get("/metrics").text
    families = list(text_string_to_metric_families(text))
    assert families
    for family in families:
        assert family.name.startswith("registry_auditor_")
        assert family.documentation
        assert family.type in ("gauge", "counter", "summary")


def test_openmetrics_is_spoken_to_those_who_ask_for_it(busy: Service) -> None:
    answer = busy.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert list(openmetrics(answer.text))
