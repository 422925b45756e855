"""A gate answers for the model as it is now; an attestation travels with it and is checked without a database."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.domain import Author
from registry_auditor.store import Store
from tests.planted import ablated

Cli = Callable[..., Any]
Json = dict[str, Any]


@pytest.fixture
def tuned(tuned_by: Callable[..., Path]) -> Path:
    return tuned_by(ablated)


@pytest.fixture
def done(audited: Callable[..., Json], tuned: Path, base: Path) -> Json:
    return audited(tuned, base)


@pytest.fixture
def policy(tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes a policy file."""

    def write(text: str) -> Path:
        file = tmp_path / "policy.toml"
        file.write_text(text)
        return file

    return write


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A key pair, made as the manual says."""
    private, public = tmp_path / "audit.key", tmp_path / "audit.pub"
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def test_a_model_that_was_never_audited_is_refused_with_3(cli: Cli, tuned: Path) -> None:
    gate = cli("gate", tuned)
    assert gate.code == 3
    assert "never audited" in gate.out
    assert cli("gate", tuned, "--format", "json").json["audit"] is None


def test_the_default_policy_accepts_it_and_a_strict_one_says_why_not(
    cli: Cli, done: Json, tuned: Path, policy: Callable[[str], Path]
) -> None:
    accepted = cli("gate", tuned)
    assert (accepted.code, accepted.out.split()[0]) == (0, "ACCEPTED")
    strict = policy("max_severity = 'low'")
    refused = cli("gate", tuned, "--policy", strict)
    assert (refused.code, refused.out.split()[0]) == (1, "REFUSED")
    assert "finding: medium svd-diff/removed-direction" in refused.out
    record = cli("gate", tuned, "--policy", strict, "--format", "json")
    assert (record.code, record.json["exit_code"], record.json["accepted"]) == (1, 1, False)
    assert record.json["audit"]["id"] == done["audit"]["id"]
    assert [reason["ground"] for reason in record.json["reasons"]] == ["finding"]


def test_a_model_is_named_by_folder_reference_or_audit(cli: Cli, done: Json, tuned: Path) -> None:
    for name in (tuned, f"dir:{tuned}", done["audit"]["model"]["ref"], done["audit"]["id"], done["audit"]["id"][:13]):
        gate = cli("gate", name, "--format", "json")
        assert (gate.code, gate.json["audit"]["id"]) == (0, done["audit"]["id"]), name


def test_a_folder_that_was_changed_since_is_another_model(cli: Cli, done: Json, tuned: Path) -> None:
    (tuned / "config.json").write_text((tuned / "config.json").read_text() + "\n")
    assert cli("gate", tuned).code == 3
    assert cli("gate", done["audit"]["model"]["ref"]).code == 0


def test_a_folder_that_is_gone_is_known_by_its_digest(cli: Cli, done: Json, tuned: Path) -> None:
    shutil.rmtree(tuned)
    assert cli("gate", done["audit"]["model"]["ref"]).code == 0
    assert cli("gate", tuned).code == 2


def test_the_newest_audit_decides(
    cli: Cli, audited: Callable[..., Json], done: Json, tuned: Path, base: Path, policy: Callable[[str], Path]
) -> None:
    both = policy("required = ['token-projection']")
    assert cli("gate", tuned, "--policy", both).code == 0
    audited(tuned, base, "--analyzer", "svd-diff")
    assert cli("gate", tuned, "--policy", both).code == 3
    assert cli("gate", done["audit"]["id"], "--policy", both).code == 0


def test_an_incomplete_audit_is_refused_unless_the_policy_accepts_it(
    cli: Cli, audited: Callable[..., Json], tuned: Path, policy: Callable[[str], Path]
) -> None:
    audited(tuned, None)
    refused = cli("gate", tuned)
    assert (refused.code, "svd-diff skipped" in refused.out) == (3, True)
    assert cli("gate", tuned, "--policy", policy("accept_incomplete = true")).code == 0
    assert cli("gate", tuned, "--policy", policy("accept_incomplete = true\n[base]\nrequired = true")).code == 3


def test_gate_audits_what_never_was_if_it_is_told_to(cli: Cli, tuned: Path, base: Path) -> None:
    first = cli("gate", tuned, "--audit", "--base", base, "--format", "json")
    assert (first.code, first.json["audit"]["verdict"]) == (0, "pass")
    again = cli("gate", tuned, "--audit", "--format", "json")
    assert again.json["audit"]["id"] == first.json["audit"]["id"]


def test_what_was_triaged_or_suppressed_does_not_block(
    cli: Cli, done: Json, tuned: Path, db: str, policy: Callable[[str], Path]
) -> None:
    from datetime import UTC, datetime, timedelta

    strict = policy("max_severity = 'low'")
    with Store.open(db) as store:
        rule = store.suppressions.add(
            by=Author("ann"), code="svd-diff/*", reason="a test model", expires_at=datetime.now(UTC) + timedelta(days=1)
        )
    gate = cli("gate", tuned, "--policy", strict)
    assert gate.code == 0
    assert "does not count: medium svd-diff/removed-direction" in gate.out
    assert "a test model" in gate.out
    assert cli("gate", tuned, "--policy", policy("max_severity = 'low'\nhonour_suppressions = false")).code == 1
    shown = cli("audits", "show", done["audit"]["id"])
    assert "suppressed until" in shown.out
    log = cli("audits", "show", done["audit"]["id"], "--format", "sarif").json
    reasons = [each["justification"] for result in log["runs"][0]["results"] for each in result["suppressions"]]
    assert reasons
    assert set(reasons) == {"a test model"}
    with Store.open(db) as store:
        store.suppressions.end(rule.id, by=Author("ann"))
    assert cli("gate", tuned, "--policy", strict).code == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--policy", "none.toml"), "none.toml: cannot be read"), (("--format", "sarif"), "--format"),
     (("--policy", "wrong.toml"), "did you mean 'max_age'?")],
)  # fmt: skip
def test_a_wrong_command_line_exits_with_4(
    cli: Cli, tuned: Path, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    (tmp_path / "wrong.toml").write_text("maxage = '3d'")
    gate = cli("gate", tuned, *arguments)
    assert (gate.code, gate.out) == (4, "")
    assert told in gate.err


def test_an_unknown_audit_exits_with_4(cli: Cli) -> None:
    assert cli("gate", "0199a1b2-0000").code == 4


def test_an_attestation_is_verified_by_whoever_has_the_folder_and_the_key(
    cli: Cli, done: Json, tuned: Path, base: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "audit.intoto.json"
    made = cli("attest", tuned, "--key", keys[0], "--output", file)
    assert (made.code, made.out) == (0, "")
    good = cli("verify", file, "--key", keys[1], "--model", tuned)
    assert (good.code, good.out.split()[0]) == (0, "VERIFIED")
    assert cli("verify", file, "--key", keys[1], "--model", done["audit"]["model"]["digest"]).code == 0
    assert cli("verify", file, "--key", keys[1], "--model", done["audit"]["model"]["ref"]).code == 0
    alone = cli("verify", file, "--key", keys[1])
    assert (alone.code, "held against no model" in alone.out) == (0, True)
    other = cli("verify", file, "--key", keys[1], "--model", base, "--format", "json")
    assert (other.code, other.json["exit_code"], other.json["accepted"]) == (3, 3, False)
    assert "another model" in other.json["reasons"][0]["text"]
    (tuned / "config.json").write_text((tuned / "config.json").read_text() + "\n")
    assert cli("verify", file, "--key", keys[1], "--model", tuned).code == 3


def test_an_attestation_that_was_changed_exits_with_3(
    cli: Cli, done: Json, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    envelope = json.loads(cli("attest", done["audit"]["id"], "--key", keys[0]).out)
    envelope["payload"] = envelope["payload"][:-8] + "AAAAAA=="
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(envelope))
    bad = cli("verify", file, "--key", keys[1], "--format", "json")
    assert (bad.code, bad.json["subject"]) == (3, None)
    assert "changed since" in bad.json["reasons"][0]["text"]


def test_with_a_policy_only_what_it_accepts_is_attested(
    cli: Cli, done: Json, tuned: Path, keys: tuple[Path, Path], tmp_path: Path, policy: Callable[[str], Path]
) -> None:
    file = tmp_path / "audit.json"
    refused = cli("attest", tuned, "--key", keys[0], "--policy", policy("max_severity = 'low'"), "--output", file)
    assert (refused.code, file.exists()) == (1, False)
    assert "not attested, finding: medium svd-diff/removed-direction" in refused.err
    lax = policy("max_severity = 'medium'")
    assert cli("attest", tuned, "--key", keys[0], "--policy", lax, "--output", file).code == 0
    assert cli("verify", file, "--key", keys[1], "--model", tuned, "--policy", lax).code == 0
    assert (
        cli("verify", file, "--key", keys[1], "--model", tuned, "--policy", policy("max_severity = 'high'")).code == 3
    )


def test_the_attestation_of_a_failed_audit_says_so(
    cli: Cli, audited: Callable[..., Json], tuned: Path, base: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    audited(tuned, base, "--fail-on", "medium")
    file = tmp_path / "audit.json"
    assert cli("attest", tuned, "--key", keys[0], "--output", file).code == 0
    failed = cli("verify", file, "--key", keys[1], "--model", tuned)
    assert (failed.code, "the verdict is fail" in failed.out) == (1, True)


def test_what_cannot_be_attested_exits_with_4(
    cli: Cli, done: Json, tuned: Path, base: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, told in (
        ((base, "--key", keys[0]), "never audited"),
        ((tuned,), "no key"),
        ((tuned, "--key", "none.key"), "cannot be read"),
        ((tuned, "--key", keys[1]), "no private key"),
        ((tuned, "--key", keys[0], "--valid-for", "soon"), "no span of time"),
    ):
        made = cli("attest", *arguments)
        assert (made.code, made.out) == (4, ""), arguments
        assert told in made.err
    monkeypatch.setenv("REGISTRY_AUDITOR_SIGNING_KEY", keys[0].read_text())
    assert cli("attest", tuned).code == 0


def test_what_cannot_be_verified_says_why(cli: Cli, keys: tuple[Path, Path], tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no envelope")
    assert cli("verify", text, "--key", keys[1]).code == 3
    assert cli("verify", tmp_path / "none", "--key", keys[1]).code == 2
    assert cli("verify", text, "--key", keys[0]).code == 4
    assert cli("verify", text).code == 4
