"""Analyzers of other packages are found by their entry points; one that cannot be loaded fails, and never drops out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
GOOD = '''
from registry_auditor.plugin import Finding, Severity, analyzer

@analyzer("good", version=2, needs=())
def good(subject, *, loud: bool = False):
    """Greets every model."""
    yield Finding("good/hello", Severity.MEDIUM if loud else Severity.INFO, "hello", score=1.0)

@analyzer("other-name", version=1)
def misnamed(subject):
    """Goes by another name than its entry point."""
    yield from ()

@analyzer("crashing", version=1)
def crashing(subject):
    """Crashes."""
    raise ValueError("boom")
    yield

@analyzer("stranger", version=1)
def stranger(subject, *, limit: "NoSuchType" = 3):
    """Has a parameter of a type that does not exist."""
    yield from ()

def plain(subject):
    yield from ()
'''

UNTYPED = '''
from registry_auditor.plugin import analyzer

@analyzer("stranger", version=1)
def stranger(subject, *, limit=3):
    """Has a parameter of no type."""
    yield from ()
'''
MISFIT = UNTYPED.replace("limit=3", "limit: int = 'three'")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that installs a package with these entry points, as pip would: a module and a dist-info folder."""

    def install(**points: str) -> None:
        site = tmp_path / "site"
        info = site / "strangers-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "strangers.py").write_text(GOOD)
        (site / "broken.py").write_text("import no_such_library")
        (site / "untyped.py").write_text(UNTYPED)
        (site / "misfit.py").write_text(MISFIT)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[registry_auditor.analyzers]", *lines, ""]))
        monkeypatch.syspath_prepend(site)
        for module in ("strangers", "broken", "untyped", "misfit"):
            monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def runs(report: Any) -> dict[str, tuple[str, str | None]]:
    return {run["analyzer"]: (run["status"], run["reason"]) for run in report["runs"]}


def test_a_strangers_analyzer_runs_beside_the_built_in_ones(
    cli: Cli, installed: Callable[..., None], base: Path, tmp_path: Path
) -> None:
    installed(good="strangers:good")
    report = cli("audit", base, "--base", base, "--format", "json").json
    assert runs(report) == {name: ("ok", None) for name in ("good", "svd-diff", "token-projection")}
    (tmp_path / "auditor.toml").write_text("[analyzers.good]\nloud = true\n")
    loud = cli("audit", base, "--base", base, "--format", "json", "--fail-on", "medium")
    assert loud.code == 1
    assert loud.json["findings"][0]["code"] == "good/hello"
    assert "Greets every model." in cli("analyzers", "explain", "good").out
    assert cli("analyzers", "schema", "good").json["properties"]["loud"]["type"] == "boolean"


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ("strangers:stranger", "NoSuchType"),
        ("untyped:stranger", "limit must have a type"),
        ("broken:anything", "No module named 'no_such_library'"),
        ("strangers:no_such_function", "no_such_function"),
        ("misfit:stranger", "limit: Input should be a valid integer"),
        ("strangers:plain", "is no analyzer; decorate it"),
        ("strangers:misnamed", "the analyzer 'other-name'"),
        ("no_such_module:x", "no_such_module"),
    ],
)
def test_an_analyzer_that_cannot_be_loaded_is_a_failed_run_that_says_why(
    point: str, told: str, cli: Cli, installed: Callable[..., None], base: Path
) -> None:
    installed(stranger=point)
    done = cli("audit", base, "--base", base, "--format", "json")
    assert done.code == 3, done.err
    status, reason = runs(done.json)["stranger"]
    assert status == "failed"
    assert told in (reason or "")
    assert runs(done.json)["svd-diff"] == ("ok", None)
    listed = cli("analyzers", "list")
    assert listed.code == 0
    assert "stranger" in listed.out
    doctor = cli("doctor")
    assert doctor.code == 2
    assert "stranger cannot be loaded" in doctor.out
    explained = cli("analyzers", "explain", "stranger")
    assert explained.code == 0
    assert told in explained.out


def test_settings_of_an_analyzer_that_cannot_be_loaded_are_no_obstacle(
    cli: Cli, installed: Callable[..., None], base: Path, tmp_path: Path
) -> None:
    installed(stranger="broken:anything")
    (tmp_path / "auditor.toml").write_text("[analyzers.stranger]\nlimit = 3\n")
    done = cli("audit", base, "--base", base, "--format", "json")
    assert done.code == 3
    assert "no_such_library" in done.json["exit_reason"]


def test_a_package_cannot_take_the_name_of_another(cli: Cli, installed: Callable[..., None], base: Path) -> None:
    installed(**{"svd-diff": "strangers:good"})
    done = cli("audit", base, "--base", base, "--analyzer", "svd-diff", "--format", "json")
    assert done.code == 3
    status, reason = runs(done.json)["svd-diff"]
    assert status == "failed"
    assert "strangers:good" in (reason or "")
    assert "auditor_svd_diff:svd_diff" in (reason or "")


def test_a_crash_costs_its_own_run_only(cli: Cli, installed: Callable[..., None], base: Path) -> None:
    installed(crashing="strangers:crashing")
    done = cli("audit", base, "--base", base, "--format", "json")
    assert done.code == 3
    assert runs(done.json)["crashing"] == ("failed", "ValueError: boom")
    assert runs(done.json)["svd-diff"] == ("ok", None)


def test_a_failed_run_is_tried_again(cli: Cli, installed: Callable[..., None], base: Path, tmp_path: Path) -> None:
    installed(crashing="strangers:crashing")
    assert cli("audit", base, "--base", base).code == 3
    mended = GOOD.replace('raise ValueError("boom")\n    yield', "yield from ()")
    (tmp_path / "site" / "strangers.py").write_text(mended)
    sys.modules.pop("strangers")
    done = cli("audit", base, "--base", base, "--format", "json")
    assert (done.code, runs(done.json)["crashing"]) == (0, ("ok", None))


def test_one_analyzer_alone_can_be_asked_for(cli: Cli, installed: Callable[..., None], base: Path) -> None:
    installed(good="strangers:good", stranger="broken:anything")
    done = cli("audit", base, "--base", base, "--analyzer", "good", "--analyzer", "good", "--format", "json")
    assert [run["analyzer"] for run in done.json["runs"]] == ["good"]
