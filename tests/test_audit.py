"""An audit survives being killed, interrupted, asked for twice and run out of time; what was finished is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from registry_auditor.domain import AuditState
from registry_auditor.store import Store
from tests import planted
from tests.planted import LAYERS, READERS, WRITERS, add_rank_one, weight

Json = dict[str, Any]
COMMAND = Path(sys.executable).with_name("registry-auditor")
DEADLINE_S = 60

PATIENT = '''
"""An analyzer of another package that works until a file appears."""
import time
from collections.abc import Iterator
from pathlib import Path
from registry_auditor.plugin import Coverage, Finding, Severity, Subject, analyzer

@analyzer("waiting", version=1)
def waiting(subject: Subject, *, until: str = "") -> Iterator[Finding | Coverage]:
    """Wait."""
    yield Finding("waiting/begun", Severity.INFO, "begun")
    while not Path(until).exists():
        time.sleep(0.01)
        yield Coverage()
    yield Finding("waiting/done", Severity.INFO, "done")
'''


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the last analyzer of every audit waits for, also of audits in other processes."""
    site = tmp_path / "site"
    info = site / "patient-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "patient.py").write_text(PATIENT)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: patient\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[registry_auditor.analyzers]\nwaiting = patient:waiting\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    (tmp_path / "auditor.toml").write_text(f"[analyzers.waiting]\nuntil = '{tmp_path}/go'\n")
    return tmp_path / "go"


@pytest.fixture
def tuned(tuned_by: Callable[..., Path]) -> Path:
    def change(tensors: dict[str, Tensor]) -> None:
        for seed, module in enumerate((*WRITERS, *READERS)):
            for layer in range(LAYERS):
                add_rank_one(tensors[weight(layer, module)], seed=100 * seed + layer)

    return tuned_by(change)


@pytest.fixture
def half_way(db: str, tuned: Path, base: Path, waiting: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """An audit in a process of its own: two analyzers have finished, the third is at work until `waiting` exists."""
    command = [COMMAND, "audit", tuned, "--base", base, "--db", db]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_runs(db, process)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_runs(db: str, process: subprocess.Popen[str]) -> None:
    started = time.monotonic()
    with Store.open(db) as store:
        while process.poll() is None and time.monotonic() - started < DEADLINE_S:
            audits = store.audits().items
            if audits and len(store.runs(audits[0].id)) == 2:
                return
            time.sleep(0.01)
    pytest.fail(f"the first runs were not finished: {process.communicate()}")


def lasting(report: Json) -> Json:
    """A report without what differs between any two audits: ids, times and what it cost."""
    audit = {key: value for key, value in report["audit"].items() if key != "id" and not key.endswith("_at")}
    costs = ("seconds", "peak_memory_bytes")
    runs = [{key: value for key, value in run.items() if key not in costs} for run in report["runs"]]
    findings = [{key: value for key, value in finding.items() if key != "id"} for finding in report["findings"]]
    return {**report, "audit": audit, "runs": runs, "findings": findings}


def run_ids(db: str, audit_id: str) -> list[str]:
    with Store.open(db) as store:
        return [stored.id for stored in store.runs(audit_id)]


def test_a_killed_audit_goes_on_where_it_was_and_finds_the_same(
    half_way: subprocess.Popen[str],
    waiting: Path,
    db: str,
    tuned: Path,
    base: Path,
    audited: Callable[..., Json],
    tmp_path: Path,
) -> None:
    half_way.send_signal(signal.SIGKILL)
    half_way.wait()
    with Store.open(db) as store:
        (killed,) = store.audits().items
    assert killed.state is AuditState.RUNNING
    finished = run_ids(db, killed.id)
    assert len(finished) == 2
    waiting.touch()
    resumed = audited(tuned, base)
    assert resumed["audit"]["id"] == killed.id
    assert run_ids(db, killed.id)[:2] == finished
    assert [run["status"] for run in resumed["runs"]] == ["ok", "ok", "ok"]
    undisturbed = audited(tuned, base, "--db", f"sqlite:///{tmp_path}/other/auditor.db")
    assert lasting(resumed) == lasting(undisturbed)


def test_an_interrupted_audit_says_so_and_can_be_resumed_and_nobody_takes_it_meanwhile(
    half_way: subprocess.Popen[str], waiting: Path, db: str, tuned: Path, base: Path, cli: Callable[..., Any]
) -> None:
    second = cli("audit", tuned, "--base", base)
    assert second.code == 2
    assert f":{half_way.pid}" in second.err
    assert "is being run by" in second.err
    half_way.send_signal(signal.SIGINT)
    _, told = half_way.communicate(timeout=DEADLINE_S)
    assert half_way.returncode == 130
    assert "run the same command again" in told
    assert "Traceback" not in told
    with Store.open(db) as store:
        (interrupted,) = store.audits().items
    assert interrupted.state is AuditState.QUEUED
    waiting.touch()
    resumed = cli("audit", tuned, "--base", base, "--format", "json").json
    assert resumed["audit"]["id"] == interrupted.id
    assert resumed["audit"]["verdict"] == "pass"


def test_a_run_out_of_time_is_recorded_and_what_it_found_is_kept(
    audited: Callable[..., Json], waiting: Path, tuned: Path, base: Path
) -> None:
    chosen = ("--analyzer", "svd-diff", "--analyzer", "waiting")
    report = audited(tuned, base, *chosen, "--timeout", "3")
    statuses = {run["analyzer"]: run["status"] for run in report["runs"]}
    assert statuses == {"svd-diff": "ok", "waiting": "timed_out"}
    assert (report["exit_code"], report["audit"]["verdict"]) == (3, "incomplete")
    assert "waiting timed out" in report["exit_reason"]
    assert "--timeout" in report["exit_reason"]
    assert "waiting/begun" in {finding["code"] for finding in report["findings"]}
    assert report["banks"][0]["directions"] == LAYERS * len((*WRITERS, *READERS))
    waiting.touch()
    assert audited(tuned, base, *chosen)["exit_code"] == 0


def test_no_time_at_all_times_every_run_out_and_the_next_audit_tries_again(
    audited: Callable[..., Json], tuned: Path, base: Path
) -> None:
    hurried = audited(tuned, base, "--timeout", "0.001", "--analyzer", "svd-diff")
    assert [run["status"] for run in hurried["runs"]] == ["timed_out"]
    assert hurried["exit_code"] == 3
    patient = audited(tuned, base, "--analyzer", "svd-diff")
    assert [run["status"] for run in patient["runs"]] == ["ok"]
    assert patient["exit_code"] == 0


def test_a_changed_parameter_runs_its_own_analyzer_again_and_no_other(
    audited: Callable[..., Json], db: str, tuned: Path, base: Path, tmp_path: Path
) -> None:
    first = audited(tuned, base)
    (tmp_path / "auditor.toml").write_text("[analyzers.token-projection]\ntop = 3\n")
    second = audited(tuned, base)
    (svd, reading), (svd_again, reading_again) = (run_ids(db, each["audit"]["id"]) for each in (first, second))
    assert svd == svd_again
    assert reading != reading_again


def test_a_changed_model_is_another_model(
    audited: Callable[..., Json], db: str, tuned: Path, base: Path, tmp_path: Path
) -> None:
    first = audited(tuned, base, "--analyzer", "svd-diff")
    other = planted.fine_tune(tuned, tmp_path / "other", lambda t: add_rank_one(t[weight(0, "mlp.up_proj")], seed=77))
    os.replace(other / planted.WEIGHTS, tuned / planted.WEIGHTS)  # noqa: PTH105
    second = audited(tuned, base, "--analyzer", "svd-diff")
    assert first["audit"]["model"]["ref"] != second["audit"]["model"]["ref"]
    assert run_ids(db, first["audit"]["id"]) != run_ids(db, second["audit"]["id"])


def test_the_same_audit_twice_reports_the_same(audited: Callable[..., Json], tuned: Path, base: Path) -> None:
    first, second = (audited(tuned, base, "--analyzer", "svd-diff") for _ in range(2))
    assert json.dumps(first["runs"]) == json.dumps(second["runs"])
    assert lasting(first) == lasting(second)
