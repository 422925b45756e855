"""`registry-auditor serve`, as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from registry_auditor.store import Store
from tests.api.senders import MLFLOW_SECRET, from_mlflow, registered
from tests.api.v1.planted import plant

HOOKS = json.dumps({"mlflow": {"source": "mlflow", "secret_env": "HOOK_SECRET"}})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def process(url: str, port: int, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "registry_auditor", "serve", "--port", str(port), "--db", url, *options]
    started = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_asked_to_stop_and_that_is_a_success(sqlite_url: str, asked: signal.Signals) -> None:
    port = free_port()
    with process(sqlite_url, port, REGISTRY_AUDITOR_HOOKS=HOOKS, HOOK_SECRET=MLFLOW_SECRET) as server:
        assert server.stderr is not None
        assert server.stderr.readline() == f"listening on http://127.0.0.1:{port}\n"
        sent = from_mlflow()
        answer = httpx2.post(f"http://127.0.0.1:{port}{sent.path}", headers=sent.headers, content=sent.body)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
        assert "server" not in answer.headers
        memory = Path(f"/proc/{server.pid}/maps")
        assert not memory.exists() or "torch" not in memory.read_text()
        server.send_signal(asked)
        assert server.wait(20) == 0
        assert server.stderr.read() == ""
    with Store.open(sqlite_url) as store:
        assert [delivery.target for delivery in store.deliveries.pending(10)] == ["mlflow:demo model@1"]


def test_nobody_but_this_machine_is_served_without_tokens(sqlite_url: str) -> None:
    port = free_port()
    with process(sqlite_url, port, "--no-auth") as server:
        assert server.stderr is not None
        server.stderr.readline()
        address = f"http://127.0.0.1:{port}/api/v1/audits"
        assert httpx2.get(address).json() == {"items": [], "next": None}
        assert httpx2.get(address, headers={"host": "rebound.evil.test"}).status_code == 421


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_no_tokens_and_everybody_can_reach_it_is_a_configuration_error(sqlite_url: str, host: str) -> None:
    with process(sqlite_url, free_port(), "--no-auth", "--host", host) as server:
        assert server.wait(20) == 4
        assert server.stderr is not None
        said = server.stderr.read()
    assert host in said
    assert "tokens create" in said


def test_what_the_api_answers_takes_no_torch(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        planted = plant(store)
    port = free_port()
    with process(sqlite_url, port, "--no-auth") as server:
        assert server.stderr is not None
        server.stderr.readline()
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client:
            for form in ("json", "markdown", "sarif", "cyclonedx"):
                assert client.get(f"/audits/{planted.after.id}/report", params={"format": form}).status_code == 200
            assert client.get(f"/models/{planted.model}/diff").status_code == 200
            for wanted in ({"audit": planted.after.id}, {"direction": {"bank": planted.bank, "ordinal": 0}}):
                assert client.post("/directions:nearest", json=wanted).status_code == 200
        memory = Path(f"/proc/{server.pid}/maps")
        assert not memory.exists() or "torch" not in memory.read_text()


def test_a_port_in_use_is_said(sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with process(sqlite_url, port) as server:
            assert server.wait(20) == 2
            assert server.stderr is not None
            said = server.stderr.read()
    assert f"port {port} of 127.0.0.1 is in use" in said
    assert "--port" in said


def test_a_hook_without_a_secret_is_a_configuration_error(sqlite_url: str) -> None:
    with process(sqlite_url, free_port(), REGISTRY_AUDITOR_HOOKS=HOOKS) as server:
        assert server.wait(20) == 4
        assert server.stderr is not None
        assert "HOOK_SECRET" in server.stderr.read()


def test_what_was_accepted_survives_a_killed_server(sqlite_url: str) -> None:
    port = free_port()
    accepted: list[str] = []
    enough = threading.Event()

    def send(sender: int) -> None:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            for number in range(10_000):
                name = f"{sender}-{number}"
                sent = from_mlflow(registered(name), delivery=name)
                try:
                    answer = client.post(sent.path, headers=sent.headers, content=sent.body)
                except httpx2.TransportError:
                    return
                assert answer.status_code == 202
                accepted.append(f"mlflow:{name}@1")
                if len(accepted) >= 100:
                    enough.set()

    with process(sqlite_url, port, REGISTRY_AUDITOR_HOOKS=HOOKS, HOOK_SECRET=MLFLOW_SECRET) as server:
        assert server.stderr is not None
        server.stderr.readline()
        senders = [threading.Thread(target=send, args=(number,)) for number in range(8)]
        for sender in senders:
            sender.start()
        assert enough.wait(30)
        server.kill()
        for sender in senders:
            sender.join()
    with Store.open(sqlite_url) as store:
        stored = {delivery.target for delivery in store.deliveries.pending(100_000)}
    assert set(accepted) <= stored
