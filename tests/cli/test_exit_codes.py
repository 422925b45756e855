"""What a script that calls us may rely on: exit codes, the same in every format, and what goes to which stream."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.cli.options import ReportFormat
from tests.planted import WEIGHTS, ablated, one_matrix

Cli = Callable[..., Any]
FORMATS = tuple(ReportFormat)
COMMAND = Path(sys.executable).with_name("registry-auditor")


@pytest.fixture
def ends(cli: Cli, tmp_path: Path) -> Callable[..., None]:
    """A function that holds the exit code of an audit against every format of its report; called again, of JSON."""
    formats = list(FORMATS)

    def check(expected: int, *arguments: object) -> None:
        for form in formats:
            done = cli("audit", *arguments, "--format", form)
            assert done.code == expected, done.err
            assert done.out, form
            if form == "json":
                assert done.json["exit_code"] == expected
                assert done.json["exit_reason"] == done.json["audit"]["reason"]
        formats[:] = [ReportFormat.JSON]

    return check


def test_a_complete_audit_without_grave_findings_exits_with_0(
    ends: Callable[..., None], tuned_by: Callable[..., Path], base: Path
) -> None:
    ends(0, tuned_by(one_matrix), "--base", base)


def test_findings_at_or_above_the_limit_exit_with_1(
    ends: Callable[..., None], tuned_by: Callable[..., Path], base: Path
) -> None:
    tuned = tuned_by(ablated)
    ends(0, tuned, "--base", base)
    ends(1, tuned, "--base", base, "--fail-on", "medium")
    ends(1, tuned, "--base", base, "--fail-on", "info")
    ends(0, tuned, "--base", base, "--fail-on", "critical")


def test_findings_win_over_gaps(ends: Callable[..., None], tuned_by: Callable[..., Path], base: Path) -> None:
    tuned = tuned_by(ablated)
    (tuned / "tokenizer.json").unlink()
    (tuned / "notes.pt").write_bytes(b"weights of another format")
    ends(3, tuned, "--base", base)
    ends(1, tuned, "--base", base, "--fail-on", "medium")
    ends(1, tuned, "--base", base, "--fail-on", "medium", "--allow-incomplete")


def test_an_incomplete_audit_exits_with_3_unless_that_is_allowed(
    ends: Callable[..., None], tuned_by: Callable[..., Path]
) -> None:
    tuned = tuned_by(one_matrix)
    ends(3, tuned)
    ends(0, tuned, "--allow-incomplete")


def test_a_model_that_cannot_be_read_exits_with_2(
    ends: Callable[..., None], tuned_by: Callable[..., Path], base: Path
) -> None:
    tuned = tuned_by(one_matrix)
    content = (tuned / WEIGHTS).read_bytes()
    (tuned / WEIGHTS).write_bytes(content[: len(content) // 2])
    ends(2, tuned, "--base", base)
    ends(2, tuned, "--base", base, "--allow-incomplete")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nonsense"], "--nonsense"),
        (["--analyzer", "svd-dif"], "did you mean 'svd-diff'?"),
        (["--analyzer", "qwertz"], "installed: svd-diff, token-projection"),
        (["--fail-on", "nonsense"], "'critical', 'high', 'medium', 'low', 'info'"),
        (["--format", "sarif2"], "'text', 'json', 'markdown', 'html', 'sarif', 'cyclonedx'"),
        (["--device", "quux"], "use auto, cpu or a device that this machine has"),
        (["--device", "cuda:99"], "use auto, cpu or a device that this machine has"),
        (["--timeout", "-1"], "--timeout"),
        (["--timeout", "soon"], "--timeout"),
        (["--db", "mysql://u:secret@host/audits"], "only SQLite and PostgreSQL"),
        (["--db", "nonsense"], "sqlite:///"),
        (["--base", "nexus:org/base"], "unknown registry 'nexus'"),
        (["another"], "another"),
    ],
)
def test_a_wrong_command_line_exits_with_4_and_says_what_is_right(
    cli: Cli, base: Path, arguments: list[str], told: str
) -> None:
    done = cli("audit", base, *arguments)
    assert done.code == 4
    assert not done.out
    assert told in done.err
    assert "secret" not in done.err
    assert "Traceback" not in done.err


def test_a_wrong_log_level_exits_with_4(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDITOR_LOG", "loud")
    outcome = cli("audits", "list")
    assert outcome.code == 4
    assert "REGISTRY_AUDITOR_LOG" in outcome.err


def test_no_command_shows_the_help_and_exits_with_4(cli: Cli) -> None:
    for arguments in ((), ("audits",), ("banks",), ("directions",)):
        done = cli(*arguments)
        assert done.code == 4
        assert done.err.startswith("Usage: registry-auditor")


def test_an_unknown_command_names_the_nearest_one(cli: Cli) -> None:
    done = cli("audti")
    assert done.code == 4
    assert "audti" in done.err


@pytest.mark.parametrize("target", ["nowhere", "hf:org/missing", "dir:nowhere"])
def test_a_model_that_is_not_there_exits_with_2_and_says_where_it_was_sought(cli: Cli, target: str) -> None:
    done = cli("audit", target)
    assert done.code == 2
    assert target.rpartition(":")[2] in done.err
    assert not done.out
    assert "Traceback" not in done.err


def test_the_report_goes_to_the_file_and_nothing_to_stdout(cli: Cli, base: Path, tmp_path: Path) -> None:
    for form in FORMATS:
        output = tmp_path / f"report.{form}"
        done = cli("audit", base, "--base", base, "--format", form, "--output", output)
        assert done.code == 0
        assert not done.out
        assert "identical" in output.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == 0


def test_a_report_that_cannot_be_written_exits_with_2_and_the_audit_is_kept(cli: Cli, base: Path) -> None:
    done = cli("audit", base, "--base", base, "--output", "missing/report.txt")
    assert done.code == 2
    assert "choose another --output" in done.err
    assert cli("audits", "list", "--format", "json").json["items"][0]["verdict"] == "pass"


def test_the_installed_command_keeps_results_and_progress_apart(db: str, base: Path, tmp_path: Path) -> None:
    command = [COMMAND, "audit", base, "--base", base, "--db", db, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["audit"]["verdict"] == "pass"
    assert not done.stderr


def test_results_are_utf8_whatever_the_locale_says(db: str, base: Path, tmp_path: Path) -> None:
    odd = tmp_path / "modèle-模型"
    shutil.copytree(base, odd)
    command = [COMMAND, "audit", odd, "--base", odd, "--db", db, "--format", "json"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "modèle-模型" in done.stdout.decode("utf-8")


def test_a_reader_who_leaves_early_is_neither_a_clean_audit_nor_findings(db: str, base: Path, tmp_path: Path) -> None:
    for arguments in ("config show", f"audit '{base}' --base '{base}' --db '{db}'"):
        script = f'"{COMMAND}" {arguments} | head -n 0; echo "${{PIPESTATUS[0]}}"'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.stdout.strip() == "141"
        assert not done.stderr
