"""A worker finds out what somebody asked for by name, stops at what was cancelled, and says why it cannot."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry_auditor.analysis.discover import plan
from registry_auditor.config import Settings
from registry_auditor.domain import AuditState, Author, BaseSource, Job, ModelRef, Queue, RunStatus, Verdict
from registry_auditor.registries import resolve
from registry_auditor.store import Store
from registry_auditor.worker import duties
from tests.worker.plugins import install

ME = Author("cli:me")
SLOW = '''

@analyzer("on-a-gpu", version=1, needs={"gpu"})
def on_a_gpu(subject: Subject) -> Iterator[Finding | Coverage]:
    """Ask for a GPU."""
    yield Coverage()
'''


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The analyzers of `plugins.py`, and one that needs a GPU."""
    site = install(tmp_path / "site")
    with (site / "hazards.py").open("a") as source:
        source.write(SLOW)
    entries = site / "hazards-1.0.dist-info" / "entry_points.txt"
    entries.write_text(entries.read_text() + "on-a-gpu = hazards:on_a_gpu\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "hazards", raising=False)


@pytest.fixture
def kept(url: str, tmp_path: Path) -> Iterator[Store]:
    """A store on each kind of database."""
    with Store.open(url, banks=str(tmp_path / "banks")) as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(device="cpu", cache=tmp_path / "cache")


@pytest.fixture
def tuned(fine_tunes: Callable[[int], list[Path]], base: Path) -> Path:
    """A fine-tune whose configuration names its base."""
    (made,) = fine_tunes(1)
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps({**config, "_name_or_path": str(base)}))
    return made


def wish(model: Path, *analyzers: str, base: Path | None = None) -> Job:
    parent = base and ModelRef("dir", str(base))
    return Job(ModelRef("dir", str(model)), parent, wish={name: {} for name in analyzers})


def test_a_wish_is_settled_carried_out_and_judged(kept: Store, settings: Settings, tuned: Path, base: Path) -> None:
    asked = kept.requests.submit(wish(tuned, "svd-diff", base=base), by=ME)
    duties.take_up(asked.id, kept, settings)
    done = kept.audit(asked.id)
    assert done.verdict is Verdict.PASS, done.reason
    assert (done.job.model, done.job.base) == (resolve(str(tuned)), resolve(str(base)))
    assert done.job.base_source is BaseSource.OPERATOR
    assert [each.run.step for each in kept.runs(asked.id)] == [step.key for step in plan(["svd-diff"], {})]
    assert kept.sightings.list().items[0].model == done.job.model


def test_a_wish_may_have_parameters_and_they_count(kept: Store, settings: Settings, tuned: Path, base: Path) -> None:
    job = replace(wish(tuned, base=base), wish={"token-projection": {"top": 3}})
    asked = kept.requests.submit(job, by=ME)
    duties.take_up(asked.id, kept, settings)
    (run,) = kept.runs(asked.id)
    assert run.run.params["top"] == 3


def test_without_a_base_the_one_that_the_model_claims_is_taken(
    kept: Store, settings: Settings, tuned: Path, base: Path
) -> None:
    asked = kept.requests.submit(wish(tuned, "svd-diff"), by=ME)
    duties.take_up(asked.id, kept, settings)
    done = kept.audit(asked.id)
    assert (done.job.base, done.job.base_source) == (resolve(str(base)), BaseSource.CONFIG)


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (wish(Path("/nowhere/at/all"), "svd-diff"), "nowhere"),
        (Job(ModelRef("ftp", "host/model"), wish={"svd-diff": {}}), "unknown registry 'ftp'"),
        (Job(ModelRef("dir", "/"), wish={"svd-dif": {}}), "did you mean 'svd-diff'"),
        (Job(ModelRef("dir", "/"), wish={"svd-diff": {"top": 1}}), "unknown parameter 'top'"),
    ],
)
def test_what_cannot_be_found_ends_as_error_with_the_reason(
    kept: Store, settings: Settings, job: Job, why: str
) -> None:
    asked = kept.requests.submit(job, by=ME)
    duties.take_up(asked.id, kept, settings)
    done = kept.audit(asked.id)
    assert done.verdict is Verdict.ERROR
    assert why in (done.reason or "")


def test_a_registry_out_of_reach_postpones_the_wish(
    kept: Store,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    asked = kept.requests.submit(Job(ModelRef("mlflow", "tuned"), wish={"svd-diff": {}}), by=ME)
    duties.take_up(asked.id, kept, settings)
    waiting = kept.audit(asked.id)
    assert (waiting.state, waiting.job.plan) == (AuditState.QUEUED, ())
    assert "MLFLOW_TRACKING_URI" in (waiting.reason or "")
    assert kept.waiting(Queue.CPU, limit=10) == []


def test_a_wish_that_kills_its_workers_before_it_is_settled_is_given_up(
    kept: Store, settings: Settings, tuned: Path
) -> None:
    asked = kept.requests.submit(wish(tuned, "svd-diff"), by=ME)
    for number in range(settings.max_claims):
        assert kept.claim(asked.id, f"host:{number}", lease_s=60, dead=f"host:{number - 1}")
    kept.renew(asked.id, f"host:{settings.max_claims - 1}", lease_s=0)
    duties.take_up(asked.id, kept, settings)
    assert "given up" in (kept.audit(asked.id).reason or "")


@pytest.mark.usefixtures("plugins")
def test_a_wish_that_needs_a_gpu_waits_for_a_worker_that_has_one(
    kept: Store, settings: Settings, tuned: Path, base: Path
) -> None:
    asked = kept.requests.submit(wish(tuned, "on-a-gpu", base=base), by=ME)
    duties.take_up(asked.id, kept, settings)
    assert kept.audit(asked.id).claims == 0
    assert kept.waiting(Queue.CPU, limit=10) == []
    assert kept.waiting(Queue.GPU, limit=10) == [asked.id]
    duties.take_up(asked.id, kept, settings)
    assert kept.audit(asked.id).state is AuditState.DONE


@pytest.mark.usefixtures("plugins")
def test_a_cancelled_audit_stops_before_the_next_step_and_keeps_what_was_found(
    kept: Store,
    settings: Settings,
    tuned: Path,
    base: Path,
) -> None:
    (tuned.parent / "wait").touch()
    asked = kept.requests.submit(wish(tuned, "deadly", "patient", "svd-diff", base=base), by=ME)
    worker = threading.Thread(target=duties.take_up, args=(asked.id, kept, settings))
    worker.start()
    try:
        while not (runs := kept.runs(asked.id)) and worker.is_alive():
            time.sleep(0.05)
        assert [each.run.step.analyzer for each in runs] == ["deadly"]
        kept.requests.cancel(asked.id, by=ME)
    finally:
        (tuned.parent / "wait").unlink()
        worker.join(60)
    done = kept.audit(asked.id)
    assert (done.verdict, done.reason) == (Verdict.INCOMPLETE, "cancelled by cli:me")
    runs = kept.runs(asked.id)
    assert [each.run.step.analyzer for each in runs] == ["deadly", "patient"]
    assert {each.run.status for each in runs} == {RunStatus.OK}
