"""What docs/notifications.md tells a receiver to do, done."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from standardwebhooks import WebhookVerificationError

from registry_auditor.notify import SCHEDULE_S, Terms, send_test
from registry_auditor.notify.message import TOP
from tests.notify.receiving import OLD_SECRET, SECRET, Receiver

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text(encoding="utf-8")


def _example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found
    return found.group(1)


@pytest.fixture
def message(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, str], bytes]:
    """Headers and body of a message that is signed with an old and a new secret."""
    monkeypatch.setenv("OLD", OLD_SECRET)
    send_test("security", {"security": receiver.target(secret_env=["OLD", "TOLD"])}, Terms())
    return receiver.arrived[0]


def test_the_python_example_verifies_a_message_and_no_other(
    message: tuple[dict[str, str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITS_SECRET", SECRET)
    names: dict[str, object] = {}
    exec(_example("python"), names)
    headers, body = message
    verified = names["verified"]
    assert callable(verified)
    assert verified(body, headers)["type"] == "test"
    with pytest.raises(WebhookVerificationError):
        verified(body + b" ", headers)


def test_the_shell_example_verifies_a_message_and_no_other(
    message: tuple[dict[str, str], bytes], tmp_path: Path
) -> None:
    headers, body = message
    given = {name: headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")}

    def said(content: bytes, **changes: str) -> str:
        (tmp_path / "body.json").write_bytes(content)
        environment = {"PATH": "/usr/bin:/bin", "AUDITS_SECRET": SECRET, **given, **changes}
        script = ["sh", "-c", _example("sh")]
        return subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False).stdout

    assert said(body) == "genuine\n"
    assert said(body, AUDITS_SECRET=OLD_SECRET) == "genuine\n"
    assert said(body + b" ") == said(body, timestamp="1") == said(body, AUDITS_SECRET="whsec_AAAA") == ""


def test_the_page_has_the_schedule_that_is_kept() -> None:
    row = re.search(r"\| wait before it \| none \| (.*) \|", PAGE)
    assert row
    units = {"s": 1, "min": 60, "h": 3600}
    waits = [int(number) * units[unit] for number, unit in (wait.split() for wait in row.group(1).split(" | "))]
    assert (0, *waits) == SCHEDULE_S
    assert (TOP, "five findings at most" in PAGE) == (5, True)
