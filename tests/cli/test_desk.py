"""What people say from the command line: triage, suppressions, tokens; and findings for other programs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from registry_auditor.cli import person, times
from registry_auditor.cli.export import COLUMNS
from registry_auditor.store import Store
from tests import planted
from tests.planted import add_rank_one, weight

Cli = Callable[..., Any]
Json = dict[str, Any]


@pytest.fixture
def tuned(tuned_by: Callable[..., Path]) -> Path:
    """A fine-tune with one direction in one matrix."""

    def change(tensors: dict[str, Tensor]) -> None:
        add_rank_one(tensors[weight(1, "mlp.down_proj")], seed=3, relative=0.5)

    return tuned_by(change)


@pytest.fixture
def scan(audited: Callable[..., Json], tuned: Path, base: Path) -> Callable[[], Json]:
    """A function that audits the fine-tune, so that any finding fails it."""
    return lambda: audited(tuned, base, "--fail-on", "info", "--analyzer", "svd-diff")


def retrain(tuned: Path) -> None:
    """A new revision of `tuned`, which still has what was planted."""
    file = tuned / planted.WEIGHTS
    tensors = load_file(file)
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * 1.01
    save_file(tensors, file, metadata={"format": "pt"})


def findings(cli: Cli) -> list[Json]:
    items: list[Json] = cli("findings", "list", "--format", "json").json["items"]
    return items


def test_a_dismissed_finding_fails_no_rescan_and_comes_back_when_that_is_taken_back(
    cli: Cli, scan: Callable[[], Json], tuned: Path
) -> None:
    assert scan()["exit_code"] == 1
    found = findings(cli)
    said = ("--state", "false_positive", "--comment", "a merge", "--expires", "90d", "--owner", "ann")
    for each in found:
        done = cli("findings", "triage", each["id"], *said)
        assert (done.code, "it does not count in later audits" in done.out) == (0, True)
    retrain(tuned)
    again = scan()
    assert (again["exit_code"], again["audit"]["verdict"]) == (0, "pass")
    assert f"{len(found)} finding" in again["exit_reason"]
    assert "set aside by triage or suppression" in again["exit_reason"]
    for each in found:
        assert cli("findings", "triage", each["id"][:23], "--state", "not_set").code == 0
    retrain(tuned)
    assert scan()["exit_code"] == 1


def test_a_suppressed_finding_fails_no_rescan_until_the_rule_ends(
    cli: Cli, scan: Callable[[], Json], tuned: Path
) -> None:
    assert scan()["exit_code"] == 1
    added = cli("suppress", "add", "--code", "svd-diff/*", "--reason", "merges of ours", "--expires", "2w")
    assert added.code == 0
    rule = added.out.strip()
    assert f"Findings of the newest audits: {len(findings(cli))}." in added.err
    retrain(tuned)
    assert scan()["exit_code"] == 0
    assert "It holds no more since" in cli("suppress", "end", rule[:23]).out
    retrain(tuned)
    assert scan()["exit_code"] == 1


def test_a_finding_is_shown_with_how_it_stands_and_what_happened_to_it(cli: Cli, scan: Callable[[], Json]) -> None:
    scan()
    found = findings(cli)[0]
    assert "not triaged" in cli("findings", "show", found["id"]).out
    cli("findings", "triage", found["id"], "--state", "not_affected", "--justification", "code_not_reachable")
    cli("suppress", "add", "--fingerprint", found["fingerprint"], "--reason", "\x1b[31mred")
    shown = cli("findings", "show", found["id"]).out
    for part in (
        "found in dir:",
        "triaged: not affected",
        "suppressed: suppressed until",
        "‹U+001B›",
        found["fingerprint"],
    ):
        assert part in shown
    assert "\x1b" not in shown
    told = cli("findings", "show", found["id"], "--format", "json").json
    assert (told["state"], told["counts"]) == ("not_affected", False)
    assert [event["kind"] for event in told["events"]] == ["found", "triaged", "suppressed"]
    assert told["events"][1]["by"] == told["triage"]["by"] == person.author().name


def test_what_was_said_is_in_the_log_of_writes_with_the_name_of_the_user(
    cli: Cli, scan: Callable[[], Json], db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan()
    monkeypatch.setenv("LOGNAME", "ann")
    cli("findings", "triage", findings(cli)[0]["id"], "--state", "in_triage")
    rule = cli("suppress", "add", "--model", "hf:org/*", "--reason", "known").out.strip()
    token = cli("tokens", "create", "ci", "--format", "json").json
    with Store.open(db) as store:
        log = store.writes.list().items
    assert [(line.by, line.action) for line in log] == [
        ("cli:ann", "tokens.create"), ("cli:ann", "suppressions.add"), ("cli:ann", "findings.triage"),
    ]  # fmt: skip
    assert [line.target for line in log[:2]] == [token["id"], rule]


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "a reason is missing": (("suppress", "add", "--code", "x/*"), "Missing option '--reason'"),
    "nothing is covered": (("suppress", "add", "--reason", "x"), "something that it covers"),
    "too long": (("suppress", "add", "--code", "x/*", "--reason", "x", "--expires", "181d"), "180 days"),
    "no time": (("suppress", "add", "--code", "x/*", "--reason", "x", "--expires", "soon"), "write 12h, 30d"),
    "no such rule": (("suppress", "end", "ffff"), "suppress list"),
    "no such finding": (("findings", "triage", "ffff", "--state", "resolved"), "findings list"),
    "no such state": (("findings", "triage", "ffff", "--state", "fine"), "false_positive"),
    "no such token": (("tokens", "revoke", "ffff"), "tokens list"),
    "no id of a token": (("tokens", "revoke", "ci"), "tokens list"),
    "no such scope": (("tokens", "create", "ci", "--scope", "write"), "submit"),
    "past": (("tokens", "create", "ci", "--expires", "2020-01-31"), "is past"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_said_exits_with_4_and_tells_the_remedy(cli: Cli, why: str) -> None:
    arguments, remedy = REFUSED[why]
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (4, "")
    assert remedy in outcome.err


def test_a_secret_is_printed_once_alone_on_stdout_and_opens(cli: Cli, db: str) -> None:
    made = cli("tokens", "create", "ci", "--scope", "read", "--scope", "triage", "--expires", "30d")
    assert made.code == 0
    secret = made.out.strip()
    assert re.fullmatch(r"ra_[0-9a-f]{24}_[\w-]{43}", secret)
    assert "not shown again" in made.err
    with Store.open(db) as store:
        token = store.tokens.authenticate(secret)
    assert token is not None
    (listed,) = cli("tokens", "list", "--format", "json").json["items"]
    assert (listed["id"], listed["scopes"], listed["revoked_at"]) == (token.id, ["read", "triage"], None)
    shown = cli("tokens", "list").out
    assert token.id in shown
    assert "good" in shown
    assert secret not in shown + json.dumps(listed)
    assert "opens nothing" in cli("tokens", "revoke", token.id[:20]).out
    assert "revoked" in cli("tokens", "list").out
    with Store.open(db) as store:
        assert store.tokens.authenticate(secret) is None


def test_a_token_that_never_expires_must_be_asked_for(cli: Cli) -> None:
    assert cli("tokens", "create", "a", "--format", "json").json["expires_at"] is not None
    assert cli("tokens", "create", "b", "--expires", "never", "--format", "json").json["expires_at"] is None


def test_rules_are_listed_by_whether_they_hold(cli: Cli) -> None:
    assert "No such suppressions" in cli("suppress", "list").out
    ended, held = (
        cli("suppress", "add", "--code", code, "--reason", "known", "--format", "json").json for code in ("x/1", "x/2")
    )
    assert ended["matches"] == 0
    assert cli("suppress", "end", ended["id"], "--format", "json").json["active"] is False

    def listed(*options: str) -> list[str]:
        return [rule["id"] for rule in cli("suppress", "list", "--format", "json", *options).json["items"]]

    assert listed() == [held["id"], ended["id"]]
    assert listed("--active") == [held["id"]]
    assert listed("--ended") == [ended["id"]]
    shown = cli("suppress", "list").out
    assert all(part in shown for part in (held["id"], "holds", "ended", "x/2", "known"))


def test_rules_that_cover_nothing_are_pruned_unless_they_are_young(cli: Cli, scan: Callable[[], Json]) -> None:
    scan()
    used, idle = (
        cli("suppress", "add", "--code", code, "--reason", "known").out.strip() for code in ("svd-diff/*", "gone/*")
    )
    assert cli("suppress", "prune").out == ""
    assert idle[:13] in cli("suppress", "prune", "--days", "0", "--dry-run").out
    assert cli("suppress", "list", "--active", "--format", "json").json["items"][0]["id"] == idle
    (pruned,) = cli("suppress", "prune", "--days", "0", "--format", "json").json["items"]
    assert (pruned["id"], pruned["active"]) == (idle, False)
    assert [rule["id"] for rule in cli("suppress", "list", "--active", "--format", "json").json["items"]] == [used]


def test_findings_are_exported_as_a_spreadsheet_and_as_lines_of_json(
    cli: Cli, scan: Callable[[], Json], tmp_path: Path
) -> None:
    scan()
    found = findings(cli)
    cli(
        "findings", "triage", found[0]["id"], "--state", "false_positive", "--comment", '=HYPERLINK("http://x"), "a"\nb'
    )
    listed = findings(cli)
    table = list(csv.DictReader(io.StringIO(cli("findings", "export").out)))
    assert tuple(table[0]) == COLUMNS
    assert [row["id"] for row in table] == [each["id"] for each in listed]
    dismissed = next(row for row in table if row["id"] == found[0]["id"])
    assert (dismissed["state"], dismissed["counts"]) == ("false_positive", "False")
    assert dismissed["comment"] == '\'=HYPERLINK("http://x"), "a"\nb'  # text, not a formula
    assert json.loads(dismissed["evidence"]) == listed[0]["evidence"] or len(listed) > 1
    file = tmp_path / "findings.jsonl"
    assert cli("findings", "export", "--format", "jsonl", "--output", file).out == ""
    assert [json.loads(line) for line in file.read_text().splitlines()] == listed
    assert cli("findings", "export", "--severity", "critical").out == ",".join(COLUMNS) + "\n"
    assert cli("findings", "export", "--audit", "ffff").code == 4


def test_findings_are_narrowed_and_sorted_by_what_people_ask(
    cli: Cli, audited: Callable[..., Json], base: Path
) -> None:
    audited(base, base)
    found = findings(cli)
    assert found
    cli("findings", "triage", found[0]["id"], "--state", "resolved")
    cli("findings", "triage", found[0]["id"], "--state", "in_triage", "--expires", "1h")

    def count(*options: str) -> int:
        shown = cli("findings", "list", "--format", "json", *options)
        assert shown.code == 0, shown.err
        assert len(list(csv.DictReader(io.StringIO(cli("findings", "export", *options).out)))) == len(
            shown.json["items"]
        )
        return len(shown.json["items"])

    everything = len(found)
    assert count("--state", "in_triage") == 1
    assert count("--state", "not_set") == everything - 1
    assert count("--counting") == everything
    assert count("--set-aside") == 0
    assert count("--since", "1h", "--sort", "severity") == everything
    assert count("--until", "1h") == 0
    assert count("--since", "2100-01-01") == 0
    assert count("--base", f"dir:{base}*", "--fingerprint", found[0]["fingerprint"]) == 1
    assert count("--text", "no such words") == 0
    assert cli("findings", "list", "--since", "soon").code == 4


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T12:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T12:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_in_utc_unless_it_names_its_zone(text: str, moment: datetime) -> None:
    assert times.until(text) == times.ago(text) == moment


@pytest.mark.parametrize(
    ("text", "span"), [("12h", timedelta(hours=12)), ("30d", timedelta(30)), ("2w", timedelta(14))]
)
def test_a_span_is_read_from_now(text: str, span: timedelta) -> None:
    for read, sign in ((times.until, 1), (times.ago, -1)):
        assert abs(read(text) - datetime.now(UTC) - sign * span) < timedelta(seconds=5)
