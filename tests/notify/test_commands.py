"""`registry-auditor notifications`: trying a target out, and looking into the outbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.domain import Job, ModelRef, Verdict
from registry_auditor.store import Store
from tests.notify.receiving import Receiver, answering

Cli = Callable[..., Any]


@pytest.fixture
def settings(cli: Cli, tmp_path: Path, receiver: Receiver, other: Receiver) -> Path:
    """A settings file with the targets `security` and `chat`."""
    file = tmp_path / "auditor.toml"
    file.write_text(
        "\n".join(
            f'[notifications.{name}]\nurl = "{each.url}"\nsecret_env = "TOLD"\nallow_private = ["127.0.0.0/8"]'
            for name, each in {"security": receiver, "chat": other}.items()
        )
    )
    return file


def test_every_target_is_tried_and_its_answer_printed(
    cli: Cli, settings: Path, receiver: Receiver, other: Receiver
) -> None:
    outcome = cli("notifications", "test")
    assert (outcome.code, outcome.out) == (0, "ok    security: answered 204\nok    chat: answered 204\n")
    assert [payload["type"] for payload in receiver.verified() + other.verified()] == ["test", "test"]


def test_a_target_that_does_not_accept_exits_with_2(
    cli: Cli, settings: Path, receiver: Receiver, other: Receiver
) -> None:
    receiver.behaviour = answering(401, b"bad signature")
    outcome = cli("notifications", "test", "security")
    assert (outcome.code, outcome.out) == (2, "FAIL  security: answered 401 Unauthorized: bad signature\n")
    assert other.arrived == []


def test_an_unknown_target_and_no_targets_at_all_exit_with_4(cli: Cli, settings: Path) -> None:
    outcome = cli("notifications", "test", "pager")
    assert outcome.code == 4
    assert "there are: security, chat" in outcome.err
    settings.unlink()
    assert "[notifications.NAME]" in cli("notifications", "test").err


def test_an_empty_outbox_says_when_there_would_be_something(cli: Cli) -> None:
    outcome = cli("notifications", "list")
    assert (outcome.code, "No such notifications" in outcome.out) == (0, True)
    assert cli("notifications", "list", "--format", "json").json == {"items": [], "next": None}


def test_the_outbox_is_listed_by_target_and_state_page_by_page(cli: Cli, db: str) -> None:
    with Store.open(db) as store:
        audit = store.submit(Job(ModelRef("hf", "org/tuned", "3f2a")))
        store.finish(audit.id, Verdict.ERROR, "unreachable", notify=["security", "chat", "pager"])
        chat, pager = (
            next(n for n in store.notices.list(limit=9).items if n.target == name) for name in ("chat", "pager")
        )
        store.notices.sent(chat.id)
        store.notices.failed(pager.id, "answered 410 Gone", retry_at=None)

    def listed(*arguments: object) -> list[Any]:
        return cli("notifications", "list", "--format", "json", *arguments).json["items"]  # type: ignore[no-any-return]

    assert {item["target"]: item["state"] for item in listed()} == {
        "security": "waiting", "chat": "sent", "pager": "given_up",
    }  # fmt: skip
    assert [item["target"] for item in listed("--state", "waiting")] == ["security"]
    assert [item["problem"] for item in listed("--target", "pager")] == ["answered 410 Gone"]
    page = cli("notifications", "list", "--format", "json", "--limit", 2).json
    assert page["items"] + listed("--after", page["next"]) == listed()
    text = cli("notifications", "list").out
    assert pager.id in text
    assert "answered 410 Gone" in text
    assert json.dumps(listed()).count(audit.id) == 3
