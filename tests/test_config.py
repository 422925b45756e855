"""Settings come from the command line, the environment, a file and the defaults, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_auditor.config import Settings, default_db, load, origins, settings_file
from registry_auditor.domain import Severity
from registry_auditor.errors import UsageError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_any_file_the_defaults_hold_and_the_store_is_in_the_users_folder(tmp_path: Path) -> None:
    settings = load()
    assert settings_file() is None
    assert settings.db == default_db() == f"sqlite:///{tmp_path}/user/data/registry-auditor/auditor.db"
    assert (settings.fail_on, settings.device, settings.timeout_s) == (Severity.HIGH, "auto", None)
    assert set(origins(settings).values()) == {"default"}


def test_the_file_beside_us_comes_before_the_users_own(tmp_path: Path) -> None:
    own = tmp_path / "user" / "config" / "registry-auditor" / "auditor.toml"
    own.parent.mkdir(parents=True)
    own.write_text('fail_on = "low"')
    assert load().fail_on is Severity.LOW
    assert origins(load())["fail_on"] == str(own)
    Path("auditor.toml").write_text('device = "cpu"')
    assert (load().fail_on, load().device) == (Severity.HIGH, "cpu")


def test_a_named_file_comes_first_and_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("auditor.toml").write_text('fail_on = "low"')
    (tmp_path / "named.toml").write_text('fail_on = "info"')
    monkeypatch.setenv("REGISTRY_AUDITOR_CONFIG", "named.toml")
    assert load().fail_on is Severity.INFO
    monkeypatch.setenv("REGISTRY_AUDITOR_CONFIG", "missing.toml")
    with pytest.raises(UsageError, match=r"missing\.toml, which is no file; run: registry-auditor config init"):
        load()


def test_what_is_given_comes_before_environment_and_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("auditor.toml").write_text('fail_on = "low"\ntimeout_s = 5\n')
    monkeypatch.setenv("REGISTRY_AUDITOR_FAIL_ON", "medium")
    assert (load().fail_on, load().timeout_s) == (Severity.MEDIUM, 5)
    assert load(fail_on=Severity.INFO).fail_on is Severity.INFO
    assert load(fail_on=None).fail_on is Severity.MEDIUM


def test_lists_and_parameters_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDITOR_SELECT", '["svd-diff"]')
    monkeypatch.setenv("REGISTRY_AUDITOR_ANALYZERS", '{"svd-diff": {"max_directions": 5}}')
    assert load().select == ["svd-diff"]
    assert load().analyzers == {"svd-diff": {"max_directions": 5}}
    assert origins(load())["analyzers"] == "environment"


def test_one_setting_is_not_taken_for_another_that_begins_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDITOR_DBX", "x")
    monkeypatch.setenv("REGISTRY_AUDITOR_DEVICES", "x")
    assert set(origins(load()).values()) == {"default"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("fail_onn = 'low'", "unknown setting 'fail_onn'; did you mean 'fail_on'?"),
        ("zzz = 1", "known: db, banks"),
        ("fail_on = 'grave'", "setting fail_on: Input should be 'critical', 'high'"),
        ("timeout_s = 0", "setting timeout_s"),
        ("timeout_s = inf", "setting timeout_s"),
        ("allow_incomplete = 'perhaps'", "setting allow_incomplete"),
        ("select = 'svd-diff'", "setting select"),
        ("fail_on = ", "auditor.toml"),
        ("[analyzers]\nsvd-diff = 3", "setting analyzers.svd-diff"),
        ("\x00", "auditor.toml"),
    ],
)
def test_a_wrong_file_is_named_with_the_key_and_what_fits(content: str, told: str) -> None:
    Path("auditor.toml").write_text(content)
    with pytest.raises(UsageError) as caught:
        load()
    assert told in str(caught.value)


def test_a_file_that_is_no_text_is_named() -> None:
    Path("auditor.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"auditor\.toml"):
        load()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("FAIL_ON", "grave", "fail_on"), ("TIMEOUT_S", "soon", "timeout_s"), ("SELECT", "svd-diff", "select")],
)
def test_a_wrong_variable_is_named(name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"REGISTRY_AUDITOR_{name}", value)
    with pytest.raises(UsageError, match=told):
        load()


def test_every_setting_has_a_variable_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in Settings.model_fields:
        monkeypatch.setenv(f"REGISTRY_AUDITOR_{key.upper()}", "not-this")
        if key in ("db", "banks", "cache", "device", "broker"):
            assert str(getattr(load(), key)) == "not-this"
        else:
            with pytest.raises(UsageError, match=key):
                load()
        monkeypatch.delenv(f"REGISTRY_AUDITOR_{key.upper()}")
