"""`watch --once`, `sightings` and `registries` say what was seen, what follows from it, and what does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def registry(base: Path, tmp_path: Path) -> str:
    shutil.copytree(base, tmp_path / "registry" / "base")
    tuned = shutil.copytree(base, tmp_path / "registry" / "team" / "tuned")
    (tuned / "README.md").write_text("---\nbase_model: base\n---\n")
    return f"dir:{tmp_path}/registry"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDITOR_SETTLE_S", "0")
    monkeypatch.setenv("REGISTRY_AUDITOR_REGISTRIES", "[]")


def test_one_pass_queues_what_is_there_and_the_next_nothing(cli: Cli, registry: str) -> None:
    assert cli("watch", "--once", "--registry", registry).out == f"{registry}: 1 audit queued\n"
    assert cli("watch", "--once", "--registry", registry).out == f"{registry}: 0 audits queued\n"
    (audit,) = cli("audits", "list", "--format", "json").json["items"]
    assert audit["state"] == "queued"
    assert audit["base"]["source"] == "card"


def test_what_was_skipped_is_listed_with_the_reason(cli: Cli, registry: str) -> None:
    assert "Nothing was seen yet" in cli("sightings", "list").out
    cli("watch", "--once", "--registry", registry)
    (seen,) = cli("sightings", "list", "--skipped", "--format", "json").json["items"]
    assert seen["model"]["ref"].split("@")[0].endswith("/registry/base")
    assert "names no base" in seen["skipped"]
    assert seen["registry"] == registry
    (audited,) = cli("sightings", "list", "--audited", "--registry", registry, "--format", "json").json["items"]
    assert audited["base"]["ref"].startswith("dir:")
    assert "names no base" in cli("sightings", "list").out


def test_watched_registries_are_listed_with_what_is_wrong(cli: Cli, registry: str, tmp_path: Path) -> None:
    assert "No registry was watched yet" in cli("registries", "list").out
    gone = cli("watch", "--once", "--registry", registry, "--registry", f"dir:{tmp_path}/gone")
    assert gone.code == 2
    sound, broken = sorted(
        cli("registries", "list", "--format", "json").json["items"], key=lambda each: each["registry"]
    )[::-1]
    assert (sound["problem"], sound["full_at"] is not None) == (None, True)
    assert "gone" in broken["problem"]
    assert "gone" in cli("registries", "list").out


@pytest.mark.parametrize("command", ["watch", "up"])
def test_nothing_to_watch_is_a_usage_error(command: str, cli: Cli) -> None:
    done = cli(command)
    assert done.code == 4
    assert "--registry dir:FOLDER" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("worker", "--queue", "tpu"), "cpu, gpu, control"),
        (("worker", "--queue", "gpu", "--queue", "cpu"), "another worker"),
        (("watch", "--once", "--registry", "ftp:x"), "unknown registry"),
        (("watch", "--once", "--registry", "/models"), "dir:/models"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], told: str, cli: Cli) -> None:
    done = cli(*arguments)
    assert done.code == 4
    assert told in done.err
