"""What an MLflow server, or whoever stands between, does wrong: said in our words, and nothing half done is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import requires
from pathlib import Path

import pytest

from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.mlflow import MlflowRegistry
from tests.planted import WEIGHTS
from tests.registries import mlflow_server
from tests.registries.mlflow_between import Answer, Between, Tamper, between, faithful

NAME = "a model"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def server(mlflow_url: str, base: Path) -> Iterator[Between]:
    """A server with one model, and us in between."""
    mlflow_server.register(mlflow_url, NAME, base)
    with between(mlflow_url) as state:
        yield state


@pytest.fixture
def registry(server: Between, cache: Cache) -> MlflowRegistry:
    return MlflowRegistry(server.url, cache=cache)


def where(part: str, change: Tamper) -> Tamper:
    """Apply `change` to the answers whose path contains `part`."""
    return lambda path, answer: change(path, answer) if part in path else answer


def instead(status: int, body: str = "", **headers: str) -> Tamper:
    """Say this, whatever the server said."""
    return lambda _, __: Answer(status, body.encode(), {"Content-Type": "text/html", **headers})


def kept(registry_cache: Path) -> list[Path]:
    """The files of all entries, whole and partial."""
    return [path for path in registry_cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_download_that_ends_early_is_never_kept(server: Between, registry: MlflowRegistry, tmp_path: Path) -> None:
    def half(_: str, answer: Answer) -> Answer:
        return replace(answer, body=answer.body[: len(answer.body) // 2], promised=len(answer.body))

    def half_and_silent(_: str, answer: Answer) -> Answer:
        return replace(answer, body=answer.body[: len(answer.body) // 2])

    ref = registry.resolve(NAME)
    for tamper in (half, half_and_silent):
        server.tamper = where(WEIGHTS, tamper)
        with pytest.raises(RegistryUnavailable, match=rf"{NAME}@1.*{WEIGHTS}"), registry.open(ref):
            pass
        assert kept(tmp_path / "cache") == []
    server.tamper = faithful
    with registry.open(ref) as snapshot:
        assert snapshot.matrices


@pytest.mark.parametrize(
    "hostile", ["../../outside.json", "/tmp/outside.json", "a/../../outside.json", "x\x1b[2J.json", "sub/deeper.json"]
)
def test_artifacts_do_not_leave_their_folder(
    hostile: str, server: Between, registry: MlflowRegistry, tmp_path: Path
) -> None:
    def listed(_: str, answer: Answer) -> Answer:
        files = json.loads(answer.body).get("files", [])
        return replace(answer, body=json.dumps({"files": [*files, {"path": hostile, "is_dir": False}]}).encode())

    ref = registry.resolve(NAME)
    server.tamper = where("mlflow-artifacts/artifacts?", listed)
    with pytest.raises(RegistryError) as caught, registry.open(ref):
        pass
    assert str(caught.value).isprintable()
    assert kept(tmp_path) == []


def test_a_listing_without_an_end_is_left(server: Between, registry: MlflowRegistry) -> None:
    listing = json.dumps({"files": [{"path": "again", "is_dir": True}]})
    server.tamper = where("mlflow-artifacts/artifacts?", instead(200, listing))
    with pytest.raises(RegistryError, match="nested deeper"):
        registry.resolve(NAME)
    many = json.dumps({"files": [{"path": f"{number}.json", "is_dir": False} for number in range(10_001)]})
    server.tamper = where("mlflow-artifacts/artifacts?", instead(200, many))
    with pytest.raises(RegistryError, match="more than 10000 files"):
        registry.resolve(NAME)


def test_a_description_of_any_size_is_not_downloaded(server: Between, registry: MlflowRegistry) -> None:
    def listed(_: str, answer: Answer) -> Answer:
        files = [*json.loads(answer.body)["files"], {"path": "README.md", "is_dir": False, "file_size": 10**12}]
        return replace(answer, body=json.dumps({"files": files}).encode())

    ref = registry.resolve(NAME)
    server.tamper = where("mlflow-artifacts/artifacts?", listed)
    with pytest.raises(RegistryError, match=r"README\.md is larger than"):
        registry.claim(ref)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("call", ["resolve", "changes"])
def test_a_server_in_trouble_may_answer_later(
    status: int, call: str, server: Between, registry: MlflowRegistry
) -> None:
    server.tamper = instead(status, "<html>\nno", **{"Retry-After": "3600"})
    with pytest.raises(RegistryUnavailable, match="MLFLOW_TRACKING_URI"):
        _ = registry.resolve(NAME) if call == "resolve" else list(registry.changes())


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_credentials_is_understood(status: int, server: Between, registry: MlflowRegistry) -> None:
    server.tamper = instead(status, "You are not authenticated.")
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_TOKEN") as caught:
        registry.resolve(NAME)
    assert not isinstance(caught.value, RegistryUnavailable)


def test_artifacts_that_cannot_be_listed_are_the_problem_of_their_version(
    server: Between, registry: MlflowRegistry
) -> None:
    server.tamper = where("mlflow-artifacts", instead(500, "no bucket"))
    (change,) = registry.changes()
    assert "cannot be listed" in (change.problem or "")


def test_a_password_in_the_address_is_used_and_not_told(server: Between, tmp_path: Path) -> None:
    address = server.url.replace("://", "://me:s3cret@")
    registry = MlflowRegistry(address, cache=Cache(tmp_path / "cache"))
    assert registry.spec == f"mlflow:{server.url}"
    ref = registry.resolve(NAME)
    with registry.open(ref) as snapshot:
        assert snapshot.matrices
    server.tamper = instead(503)
    gone = MlflowRegistry("http://me:s3cret@127.0.0.1:9", cache=Cache(tmp_path / "cache"))
    for one in (registry, gone):
        with pytest.raises(RegistryUnavailable) as caught:
            one.resolve(NAME)
        assert "s3cret" not in str(caught.value)


def test_credentials_are_not_sent_to_a_strangers_server(
    server: Between, registry: MlflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    with between(server.url) as stranger:
        host = stranger.url.removeprefix("http://")
        for source in (f"{stranger.url}/api/2.0/mlflow-artifacts/artifacts/0", f"mlflow-artifacts://{host}/0",
                       "ftp://host/0", "sftp://host/0"):  # fmt: skip
            mlflow_server.changed(f"UPDATE model_versions SET source = '{source}', storage_location = '{source}'")
            with pytest.raises(RegistryError, match="neither the MLflow server nor an object store"):
                registry.resolve(NAME)
        assert stranger.asked == []


def test_artifacts_of_a_folder_and_of_a_logged_model_are_read(
    registry: MlflowRegistry, base: Path, tmp_path: Path
) -> None:
    mlflow_server.changed(f"UPDATE model_versions SET source = '{base}', storage_location = '{base}'")
    with registry.open(registry.resolve(NAME)) as snapshot:
        assert snapshot.path.is_relative_to(tmp_path / "cache")
    source = f"UPDATE model_versions SET source = 'models:/m-0123', storage_location = 'file://{base}'"
    mlflow_server.changed(source)
    with registry.open(registry.resolve(NAME)) as snapshot:
        assert snapshot.matrices


def test_a_link_out_of_a_folder_of_artifacts_is_not_followed(
    registry: MlflowRegistry, base: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text("secret")
    place = tmp_path / "place"
    place.mkdir()
    (place / WEIGHTS).write_bytes((base / WEIGHTS).read_bytes())
    (place / "link.json").symlink_to(outside / "secret.json")
    mlflow_server.changed(f"UPDATE model_versions SET source = '{place}', storage_location = '{place}'")
    ref = registry.resolve(NAME)
    with pytest.raises(RegistryError), registry.open(ref):
        pass


def test_the_extra_is_enough_and_is_loaded_late(server: Between, tmp_path: Path) -> None:
    """The same in a process that has nothing of what the server needs beyond the client."""
    client = {_distribution(each) for each in requires("mlflow-skinny") or [] if "extra ==" not in each}
    whole = {_distribution(each) for each in requires("mlflow") or [] if "extra ==" not in each}
    ours = {_distribution(each) for each in requires("registry-auditor") or [] if "extra ==" not in each}
    barred = sorted({"scikit-learn": "sklearn"}.get(name, name.replace("-", "_")) for name in whole - client - ours)
    assert {"flask", "pandas", "pyarrow"} <= set(barred)
    script = f"""
        import sys
        from pathlib import Path
        from registry_auditor.registries.mlflow import MlflowRegistry
        from registry_auditor.registries.cache import Cache
        assert "mlflow" not in sys.modules
        sys.modules.update(dict.fromkeys({barred}))
        registry = MlflowRegistry({server.url!r}, cache=Cache(Path({str(tmp_path)!r})))
        (change,) = registry.changes()
        assert registry.claim(change.model) is None
        with registry.open(change.model) as snapshot:
            print(len(snapshot.matrices))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, env={**os.environ}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def _distribution(requirement: str) -> str:
    name = requirement.replace("!", " ").replace("<", " ").replace(">", " ").replace("=", " ").replace(";", " ")
    return name.replace("[", " ").split()[0].lower()
