"""A real server on loopback over a real database, and a client to talk to it."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from registry_auditor.api.app import create_app
from registry_auditor.config import Hook, Settings
from registry_auditor.store import Store
from tests.api.senders import HUB_SECRET, MLFLOW_SECRET, OTHER_SECRET, STANDARD_SECRET, Sent

SECRETS = {
    "HUB_SECRET": HUB_SECRET,
    "MLFLOW_SECRET": MLFLOW_SECRET,
    "STANDARD_SECRET": STANDARD_SECRET,
    "STANDARD_OLD_SECRET": OTHER_SECRET,
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """A function that makes settings with a hook of every kind, their secrets in the environment."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    (tmp_path / "models").mkdir()
    return lambda url, **changes: hooked(url, tmp_path, **changes)


def hooked(url: str, folder: Path, **changes: Any) -> Settings:
    """Settings with a hook of every kind; `models` in `folder` is watched."""
    watched = f"dir:{folder}/models"
    given: dict[str, Any] = {
        "db": url,
        "banks": str(folder / "banks"),
        "registries": [watched],
        "hooks": {
            "hub": Hook(source="hf", secret_env=["HUB_SECRET"]),
            "mlflow": Hook(source="mlflow", secret_env=["MLFLOW_SECRET"]),
            "other": Hook(source="standard", secret_env=["STANDARD_SECRET"], registry=watched),
        },
    }
    return Settings(**given | changes)


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """The port on which `app` is served until the context ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


class Service:
    """A server, and the store behind it."""

    def __init__(self, port: int, client: httpx2.Client, store: Store) -> None:
        self.port = port
        self.client = client
        self.store = store

    def post(self, sent: Sent) -> httpx2.Response:
        return self.client.post(sent.path, headers=sent.headers, content=sent.body)

    def targets(self) -> list[str | None]:
        """What is written down to be looked at."""
        return [delivery.target for delivery in self.store.deliveries.pending(1000)]


Start = Callable[..., Service]


@contextmanager
def served(settings: Settings) -> Iterator[Service]:
    """A server of these settings, until the context ends."""
    with (
        Store.open(settings.db, banks=settings.banks) as store,
        serving(create_app(settings, store)) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield Service(port, client, store)


@pytest.fixture
def start(settings: Callable[..., Settings]) -> Iterator[Start]:
    """A function that serves a database with these settings."""
    with ExitStack() as stack:
        yield lambda url, **changes: stack.enter_context(served(settings(url, **changes)))


@pytest.fixture
def service(start: Start, url: str) -> Service:
    """A server over each kind of database."""
    return start(url)


@pytest.fixture(scope="session")
def lasting(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[tuple[Service, Path]]:
    """A server over SQLite, and the folder in which it watches `models`."""
    folder = tmp_path_factory.mktemp("lasting")
    shutil.copy(migrated, folder / "auditor.db")
    (folder / "models").mkdir()
    with pytest.MonkeyPatch.context() as environment:
        for name, secret in SECRETS.items():
            environment.setenv(name, secret)
        settings = hooked(f"sqlite:///{folder}/auditor.db", folder)
        with served(settings) as service:
            yield service, folder / "models"


@pytest.fixture
def on_sqlite(lasting: tuple[Service, Path]) -> Service:
    """A server that has heard nothing yet, for tests to which the kind of database makes no difference."""
    service, _ = lasting
    service.store.deliveries.settle(
        [delivery.id for delivery in service.store.deliveries.pending(1000) if delivery.id is not None]
    )
    service.store.deliveries.forget(datetime.now(UTC) + timedelta(days=1))
    return service


@pytest.fixture
def models(lasting: tuple[Service, Path]) -> Path:
    """The folder that the server of `on_sqlite` watches."""
    return lasting[1]
