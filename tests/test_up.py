"""`up`: an upload leads to a verdict without anyone asking, and no process is left when it ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from registry_auditor.domain import Audit, AuditState, Verdict
from registry_auditor.store import Store
from tests import planted
from tests.registries import mlflow_server
from tests.registries.hub_server import HubServer

PATIENCE_S = 120
SECRETS = {"HUB_SECRET": "hub-" + "s" * 40, "MLFLOW_SECRET": "mlflow-" + "s" * 40}
SETTINGS = """
settle_s = 1.0
poll_s = {poll_s}
[hooks.from-hub]
source = "hf"
secret_env = "HUB_SECRET"
[hooks.from-mlflow]
source = "mlflow"
secret_env = "MLFLOW_SECRET"
"""

pytestmark = pytest.mark.slow


@dataclass
class Up:
    """A running `up`: its process, its API and its database."""

    process: subprocess.Popen[str]
    api: str
    db: str
    log: Path

    def audit_of(self, name: str) -> Audit:
        """The finished audit of the model whose name ends so, once there is one."""
        deadline = time.monotonic() + PATIENCE_S
        with Store.open(self.db) as store:
            while time.monotonic() < deadline and self.process.poll() is None:
                for audit in store.audits(state=AuditState.DONE).items:
                    if audit.job.model.name.endswith(name):
                        return audit
                time.sleep(0.1)
        pytest.fail(f"no audit of {name}\n{self.log.read_text()}")


@pytest.fixture
def tuned(base: Path, tmp_path: Path) -> Callable[[str, str], Path]:
    """A function that makes a fine-tune of `base` whose card names its base so."""

    def make(name: str, claimed: str) -> Path:
        def change(tensors: dict[str, Tensor]) -> None:
            planted.add_rank_one(tensors[planted.weight(0, "mlp.up_proj")], seed=len(name))

        folder = planted.fine_tune(base, tmp_path / name, change)
        (folder / "README.md").write_text(f"---\nbase_model: {claimed}\n---\n")
        return folder

    return make


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """A function that starts `up` and waits until it answers."""
    started: list[Up] = []

    def run(*registries: str, poll_s: float = 1.0, **environment: str) -> Up:
        port = free_port()
        (tmp_path / "auditor.toml").write_text(SETTINGS.format(poll_s=poll_s))
        db, log = f"sqlite:///{tmp_path}/audits.db", tmp_path / "up.log"
        command = [sys.executable, "-m", "registry_auditor", "up", "--db", db, "--port", str(port)]
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, *(part for spec in registries for part in ("--registry", spec))],
                cwd=tmp_path,
                env={**os.environ, **SECRETS, **environment},
                stdout=file,
                stderr=file,
                text=True,
            )
        started.append(Up(process, f"http://127.0.0.1:{port}", db, log))
        wait_for(started[-1])
        return started[-1]

    yield run
    for up in started:
        if up.process.poll() is None:
            up.process.send_signal(signal.SIGINT)
            try:
                up.process.wait(60)
            except subprocess.TimeoutExpired:
                up.process.kill()
                up.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(up: Up) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and up.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{up.api}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"up did not come up\n{up.log.read_text()}")


def children_of(pid: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [grandchild for child in found for grandchild in children_of(child)]


def alive(pids: list[int]) -> list[int]:
    """Those of `pids` that still are a process of ours, rather than nothing, or a zombie that nobody buries."""
    left = []
    for pid in pids:
        try:
            if "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
                left.append(pid)
        except OSError:
            continue
    return left


@pytest.mark.parametrize("poll_s", [3600.0, 1.0], ids=["told by webhooks", "by polling, the webhooks lost"])
def test_an_upload_to_any_registry_leads_to_a_verdict(
    poll_s: float, start: Callable[..., Up], base: Path, tuned: Callable[[str, str], Path], tmp_path: Path
) -> None:
    told = poll_s > 60
    folder = tmp_path / "registry"
    folder.mkdir()
    shutil.copytree(base, folder / "base")
    url = mlflow_server.emptied()
    mlflow_server.register(url, "base", base)
    with HubServer(tmp_path / "hub") as hub:
        hub.push("acme/base", base)
        registries = (f"dir:{folder}", f"mlflow:{url}", "hf:acme")
        up = start(*registries, poll_s=poll_s, **hub.environment(tmp_path / "hf"))
        wait_until_watched(up, len(registries))
        if told:
            hub.webhook(f"{up.api}/hooks/hf/from-hub", SECRETS["HUB_SECRET"])
            hook = f"{up.api}/hooks/mlflow/from-mlflow"
            mlflow_server.create_webhook(url, hook, SECRETS["MLFLOW_SECRET"], events=["model_version.created"])
        shutil.copytree(tuned("in-folder", "acme/base"), folder / "in-folder")
        hub.push("acme/in-hub", tuned("in-hub", "acme/base"))
        mlflow_server.register(url, "in-mlflow", tuned("in-mlflow", "base"))
        for name in ("in-folder", "in-hub", "in-mlflow"):
            audit = up.audit_of(name)
            assert audit.verdict is Verdict.PASS, audit.reason
            assert audit.job.base is not None
            assert audit.job.base.registry == audit.job.model.registry
        wait_for_line(up, "/in-folder")  # there is one for every verdict


def wait_for_line(up: Up, text: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while text not in up.log.read_text():
        assert time.monotonic() < deadline, up.log.read_text()
        time.sleep(0.1)


def wait_until_watched(up: Up, count: int) -> None:
    """The first look at every registry is over."""
    deadline = time.monotonic() + PATIENCE_S
    with Store.open(up.db) as store:
        while time.monotonic() < deadline:
            if len([state for state in store.watched.list() if state.polled_at]) == count:
                return
            time.sleep(0.1)
    pytest.fail(f"not all registries were looked at\n{up.log.read_text()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_it(number: int, start: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    up = start(f"dir:{tmp_path}/empty")
    family = children_of(up.process.pid)
    assert len(family) >= 5
    up.process.send_signal(number)
    code = up.process.wait(60)
    assert code == (0 if number != signal.SIGKILL else -signal.SIGKILL), up.log.read_text()
    deadline = time.monotonic() + 30
    while alive(family) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(family), up.log.read_text()


def test_a_child_that_dies_is_started_again(start: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    up = start(f"dir:{tmp_path}/empty")
    victim = next(pid for pid in children_of(up.process.pid) if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(victim, signal.SIGKILL)
    time.sleep(1)
    wait_for(up)
    assert "is started again" in up.log.read_text()


def test_what_cannot_work_is_said_at_once(cli: Callable[..., Any], tmp_path: Path) -> None:
    assert cli("up").code == 4
    assert "--registry" in cli("up").err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "empty").mkdir()
        refused = subprocess.run(
            [sys.executable, "-m", "registry_auditor", "up", "-r", f"dir:{tmp_path}/empty", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert refused.returncode == 2
    assert f"port {port}" in refused.stderr
