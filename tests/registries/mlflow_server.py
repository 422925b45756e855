"""A real MLflow server on loopback, with what tests need to register models in it and to receive its webhooks.

The server is the one of the `mlflow` package: SQLite behind it, artifacts through its proxy, one worker process.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from tests.ending import at_the_end

START_S = 120.0
SMALL = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    "OMP_NUM_THREADS": "1",
}
"""One process without side jobs, whose webhooks may go to loopback."""

REGISTERED = (
    *("model_version_tags", "registered_model_tags", "registered_model_aliases"),
    *("model_versions", "registered_models"),
)
"""Tables of what is registered, each after those that point to it."""

NAMES = {
    "adapter": "adapter_config.json",
    "config": "config.json",
    "card": "README.md",
    "card_data": "model_card_data.yaml",
    "manifest": "MLmodel",
}
"""Files that describe a model, by what tests call them."""


@contextmanager
def start(folder: Path) -> Iterator[str]:
    """The URL of a server that keeps everything in `folder` and ends with the context."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"),
    ]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    key = {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode()}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**inherited, **SMALL, **key}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(f"{url}/health", process, folder / "server.log")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@functools.cache
def shared() -> str:
    """The URL of one server for all tests of this process, since a start takes ten seconds; it ends with them.

    Others register there too: choose names of your own, or begin with `emptied`.
    """
    return at_the_end.enter_context(start(shared_folder()))


@functools.cache
def shared_folder() -> Path:
    """Where that server keeps its database, `mlflow.db`, and its artifacts."""
    return Path(at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="mlflow-")))


def emptied() -> str:
    """The URL of the server for all tests, in which nothing is registered."""
    url = shared()
    changed(*(f"DELETE FROM {table}" for table in REGISTERED))
    return url


def changed(*statements: str) -> None:
    """Change the database of the server for all tests behind its back, where its interface would not do it."""
    database = sqlite3.connect(shared_folder() / "mlflow.db", timeout=30)
    with closing(database), database:
        for statement in statements:
            database.execute(statement)


def client(url: str) -> Any:
    """A client of the server at `url`."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=url, registry_uri=url)


def register(
    url: str, name: str, folder: Path, *, tags: Mapping[str, str] | None = None, base: str | None = None
) -> int:
    """Upload `folder` as a new version of the model `name`, which is made if need be; the number of the version.

    `base` becomes its tag `base_model`.
    """
    from mlflow.exceptions import MlflowException

    talk = client(url)
    run = talk.create_run("0").info.run_id
    talk.log_artifacts(run, str(folder), "model")
    try:
        talk.get_registered_model(name)
    except MlflowException:
        talk.create_registered_model(name)
    all_tags = {**(tags or {}), **({"base_model": base} if base else {})}
    source = f"runs:/{run}/model"
    return int(talk.create_model_version(name, source, run, tags=all_tags, await_creation_for=0).version)


def folder_with(path: Path, base: Path, *places: str, **files: Any) -> Path:
    """A folder with the files of `base` in every one of `places`, and `files` beside them, as text or JSON."""
    for place in places:
        shutil.copytree(base, path / place, dirs_exist_ok=True)
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (path / NAMES.get(name, name)).write_text(text, encoding="utf-8")
    return path


def create_webhook(
    url: str, target_url: str, secret: str, events: Sequence[str] = ("model_version.created", "model_version_tag.set")
) -> str:
    """Let the server at `url` tell `target_url` of `events`, signed with `secret`; the id of the webhook."""
    return str(
        client(url)
        .create_webhook(f"auditor-{urlsplit(target_url).port}", target_url, list(events), secret=secret)
        .webhook_id
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, f"the MLflow server ended with {process.returncode}:\n{log.read_text()[-2000:]}"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the MLflow server did not start within {START_S:.0f} s:\n{log.read_text()[-2000:]}")
