"""Analyzers, settings, the database and the doctor, from the command line."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from registry_auditor.config import Settings, load

Cli = Callable[..., Any]


def test_the_built_in_analyzers_are_listed_like_anybodys(cli: Cli) -> None:
    items = cli("analyzers", "list", "--format", "json").json["items"]
    assert [(item["name"], item["needs"]) for item in items] == [
        ("svd-diff", ["base"]),
        ("token-projection", ["base"]),
    ]
    text = cli("analyzers", "list").out
    assert all(item["name"] in text for item in items)


@pytest.mark.parametrize("name", ["svd-diff", "token-projection"])
def test_an_analyzer_explains_itself_and_its_parameters(cli: Cli, name: str) -> None:
    manual = cli("analyzers", "explain", name).out
    assert "What it cannot see" in manual
    schema = cli("analyzers", "schema", name).json
    jsonschema.Draft202012Validator.check_schema(schema)
    defaults = {key: value["default"] for key, value in schema["properties"].items()}
    jsonschema.validate(defaults, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"no_such_parameter": 1}, schema)


def test_an_unknown_analyzer_exits_with_4_and_names_the_others(cli: Cli) -> None:
    for verb in ("explain", "schema"):
        outcome = cli("analyzers", verb, "svd-dif")
        assert outcome.code == 4
        assert "svd-diff" in outcome.err


def test_the_settings_file_that_init_writes_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    before = cli("config", "show", "--format", "json").json
    assert cli("config", "init").code == 0
    assert (tmp_path / "auditor.toml").is_file()
    assert cli("config", "show", "--format", "json").json == before
    assert cli("config", "init").code == 4


def test_the_settings_file_that_init_writes_loads_when_uncommented(cli: Cli, tmp_path: Path) -> None:
    cli("config", "init", "--path", "auditor.toml")
    lines = (tmp_path / "auditor.toml").read_text(encoding="utf-8").splitlines()
    settings = [line.removeprefix("# ") for line in lines if re.match(r"# (\w+ = |\[)", line)]
    (tmp_path / "auditor.toml").write_text("\n".join(settings), encoding="utf-8")
    written = {line.partition(" =")[0] for line in settings}
    assert set(Settings.model_fields) - {"analyzers", "hooks", "notifications"} <= written
    assert load().timeout_s == 600
    assert load().analyzers == {"svd-diff": {"max_directions": 20}}
    assert load().hooks["some-id"].secret_env == ["HF_WEBHOOK_SECRET"]
    assert load().notifications["security"].severity == "high"
    assert load().registries == ["dir:/models", "hf:my-org"]


def test_every_setting_says_where_it_comes_from(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "auditor.toml").write_text('fail_on = "low"\ndevice = "cpu"\n')
    monkeypatch.setenv("REGISTRY_AUDITOR_DEVICE", "auto")
    shown = cli("config", "show", "--format", "json").json
    assert shown["fail_on"] == {"value": "low", "origin": "auditor.toml"}
    assert shown["device"] == {"value": "auto", "origin": "environment"}
    assert shown["timeout_s"] == {"value": None, "origin": "default"}
    assert shown["db"]["origin"] == "environment"
    assert set(shown) == set(Settings.model_fields)
    assert 'fail_on = "low"' in cli("config", "show").out


def test_no_password_is_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDITOR_DB", "postgresql://auditor:hunter2@db.example/audits?password=hunter2&x=1")
    monkeypatch.setenv("REGISTRY_AUDITOR_BANKS", "sftp://auditor:hunter2@files.example/banks")
    monkeypatch.setenv("REGISTRY_AUDITOR_BROKER", "redis://:hunter2@redis.example/0")
    monkeypatch.setenv("REGISTRY_AUDITOR_REGISTRIES", '["mlflow:https://auditor:hunter2@mlflow.example"]')
    for form in ("text", "json"):
        outcome = cli("config", "show", "--format", form)
        assert "db.example" in outcome.out
        assert "hunter2" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("fail_onn = 'low'", "did you mean 'fail_on'?"),
        ("fail_on = 'grave'", "fail_on"),
        ("timeout_s = -1", "timeout_s"),
        ("timeout_s = ", "auditor.toml"),
        ("[analyzers.svd-dif]\nmax_directions = 3", "did you mean 'svd-diff'?"),
        ("[analyzers.svd-diff]\nmax_direction = 3", "did you mean 'max_directions'?"),
        ("[analyzers.svd-diff]\nmax_directions = 'many'", "max_directions"),
        ("[analyzers.svd-diff]\nmax_directions = 2.5", "max_directions"),
        ("select = ['svd-dif']", "did you mean 'svd-diff'?"),
        ("analyzers = 3", "analyzers"),
    ],
)
def test_a_wrong_settings_file_exits_with_4_and_names_the_key(
    cli: Cli, base: Path, tmp_path: Path, content: str, told: str
) -> None:
    (tmp_path / "auditor.toml").write_text(content)
    outcome = cli("audit", base, "--base", base)
    assert outcome.code == 4
    assert told in outcome.err
    assert not outcome.out


def test_parameters_in_the_settings_file_reach_the_analyzer(cli: Cli, base: Path, tmp_path: Path) -> None:
    (tmp_path / "auditor.toml").write_text("[analyzers.svd-diff]\nmax_directions = 3\n")
    report = cli("audit", base, "--base", base, "--format", "json").json
    assert {run["analyzer"]: run["params"]["max_directions"] for run in report["runs"]} == {
        "svd-diff": 3,
        "token-projection": 20,
    }


def test_the_command_line_wins_over_environment_over_file(
    cli: Cli, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_on(*options: str) -> str:
        return str(cli("audit", base, "--base", base, "--format", "json", *options).json["audit"]["fail_on"])

    (tmp_path / "auditor.toml").write_text('fail_on = "low"')
    assert fail_on() == "low"
    monkeypatch.setenv("REGISTRY_AUDITOR_FAIL_ON", "medium")
    assert fail_on() == "medium"
    assert fail_on("--fail-on", "critical") == "critical"


def test_a_fresh_machine_gets_its_database_with_the_first_audit(
    cli: Cli, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REGISTRY_AUDITOR_DB")
    assert cli("audit", base, "--base", base).code == 0
    file = tmp_path / "user" / "data" / "registry-auditor" / "auditor.db"
    assert file.is_file()
    assert cli("db", "check").code == 0


def test_the_schema_is_checked_and_upgraded(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fresh.db"
    assert cli("db", "check", "--db", url).code == 2
    assert "upgraded" in cli("db", "upgrade", "--db", url).out
    assert "already" in cli("db", "upgrade", "--db", url).out
    assert cli("db", "check", "--db", url).code == 0


def test_a_database_of_a_newer_version_is_named_and_left_alone(cli: Cli, base: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "auditor.db") as connection:
        connection.execute("UPDATE registry_auditor_schema SET version_num = '9999'")
    connection.close()
    for command in (("audit", base, "--base", base), ("audits", "list"), ("db", "check")):
        outcome = cli(*command)
        assert outcome.code == 2
        assert "9999" in outcome.out + outcome.err


def test_a_file_that_is_no_database_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are notes, and rather long ones, " * 30)
    outcome = cli("audits", "list", "--db", f"sqlite:///{tmp_path}/notes.db")
    assert outcome.code == 2
    assert "pass another --db" in outcome.err


def test_the_doctor_finds_a_sound_installation_sound(cli: Cli) -> None:
    outcome = cli("doctor")
    assert outcome.code == 0, outcome.out
    assert "FAIL" not in outcome.out
    assert all(name in outcome.out for name in ("python", "torch", "database", "disk", "svd-diff"))


def test_the_doctor_names_what_is_wrong_and_goes_on(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "auditor.toml").write_text("nonsense = 1")
    outcome = cli("doctor", "--db", f"sqlite:///{tmp_path}/missing/folder/x.db")
    assert outcome.code == 2
    assert "FAIL  settings: unknown setting 'nonsense'" in outcome.out
    assert "ok    torch" in outcome.out


def test_json_is_the_only_thing_on_stdout(cli: Cli) -> None:
    for command in (("audits", "list"), ("findings", "list"), ("analyzers", "list"), ("config", "show")):
        outcome = cli(*command, "--format", "json")
        json.loads(outcome.out)
        assert not outcome.err
