"""One attempt: signed, to the address that was checked, and over in time whatever the receiver does."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from standardwebhooks import WebhookVerificationError

from registry_auditor.config import Target
from registry_auditor.notify import Answer, Terms, send_test
from tests.notify.receiving import HOSTILE_S, OLD_SECRET, SECRET, Receiver, answering, silent

PATIENCE_S = 0.5


def told(target: Target, **terms: object) -> Answer:
    return send_test("security", {"security": target}, Terms(**terms))  # type: ignore[arg-type]


def to_loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def test_a_message_is_verified_by_the_published_library(receiver: Receiver) -> None:
    assert told(receiver.target()) == Answer(204, None)
    (payload,) = receiver.verified()
    assert (payload["type"], payload["data"]) == ("test", {"target": "security"})
    headers, _ = receiver.arrived[0]
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        receiver.verified(OLD_SECRET)


def test_while_a_secret_is_replaced_the_old_and_the_new_both_verify(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD", OLD_SECRET)
    told(receiver.target(secret_env=["TOLD", "OLD"]))
    assert receiver.verified(SECRET) == receiver.verified(OLD_SECRET)


def test_a_private_address_is_refused_and_the_message_names_the_setting(receiver: Receiver) -> None:
    answer = told(receiver.target(url=receiver.url.replace("http", "https"), allow_private=[]))
    assert answer.status is None
    assert "allow_private" in (answer.problem or "")
    assert receiver.arrived == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "localhost"])
def test_no_spelling_of_loopback_gets_past_the_check(receiver: Receiver, host: str) -> None:
    answer = told(receiver.target(url=f"https://{host}:{receiver.port}/", allow_private=[]))
    assert "allow_private" in (answer.problem or "")
    assert receiver.arrived == []


def test_a_name_is_looked_up_once_and_the_checked_address_is_connected_to(receiver: Receiver) -> None:
    asked = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    target = receiver.target(url=f"http://hooks.test:{receiver.port}/", allow_private=["127.0.0.2/32"])
    assert "hooks.test" in (told(target, resolve=rebinding).problem or "")  # nobody listens at 127.0.0.2
    assert asked == [("hooks.test", receiver.port)]
    assert receiver.arrived == []


def test_the_next_address_is_tried_where_one_refuses_the_connection(receiver: Receiver) -> None:
    target = receiver.target(url=f"http://hooks.test:{receiver.port}/")
    assert told(target, resolve=lambda host, port: ["127.0.0.3", "127.0.0.1"]).status == 204
    assert receiver.arrived[0][0]["host"] == f"hooks.test:{receiver.port}"


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.behaviour = answering(307, Location=f"http://127.0.0.1:{receiver.port}/elsewhere")
    answer = told(receiver.target())
    assert answer.status == 307
    assert "redirects are not followed" in (answer.problem or "")
    assert len(receiver.arrived) == 1


def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert told(receiver.target()).status == 204


def test_a_certificate_is_checked_for_the_name_although_the_address_is_connected_to(
    encrypted: Receiver, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = encrypted.target(url=f"https://hooks.test:{encrypted.port}/")
    assert "certificate" in (told(named, resolve=to_loopback).problem or "").lower()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert told(named, resolve=to_loopback) == Answer(204, None)
    assert encrypted.verified()
    other = encrypted.target(url=f"https://other.test:{encrypted.port}/")
    assert "other.test" in (told(other, resolve=to_loopback).problem or "")
    assert len(encrypted.arrived) == 1


def dripping(request: BaseHTTPRequestHandler) -> None:
    stopped = request.server.receiver.stopped
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not stopped.wait(PATIENCE_S / 10):
        request.wfile.write(b"x")


@pytest.mark.parametrize("behaviour", [silent, dripping])
def test_a_receiver_cannot_hold_us_longer_than_the_timeout(
    receiver: Receiver, behaviour: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    receiver.behaviour = behaviour
    began = time.monotonic()
    assert "did not answer within 0.5 s" in (told(receiver.target(), timeout_s=PATIENCE_S).problem or "")
    assert time.monotonic() - began < HOSTILE_S / 3


def test_a_name_server_cannot_either(receiver: Receiver) -> None:
    def lost(host: str, port: int) -> list[str]:
        receiver.stopped.wait(HOSTILE_S)
        return []

    began = time.monotonic()
    assert "did not answer within 0.5 s" in (told(receiver.target(), resolve=lost, timeout_s=PATIENCE_S).problem or "")
    assert time.monotonic() - began < HOSTILE_S / 3


def endless(request: BaseHTTPRequestHandler) -> None:
    request.send_response(500)
    request.end_headers()
    while not request.server.receiver.stopped.is_set():
        request.wfile.write(b"\x1b[31m<b>no</b>\n" * 1000)


def test_of_a_huge_answer_the_beginning_is_read_and_made_safe_for_a_terminal(receiver: Receiver) -> None:
    receiver.behaviour = endless
    problem = told(receiver.target()).problem or ""
    assert problem.startswith("answered 500 Internal Server Error: [31m<b>no</b>")
    assert problem.isprintable()
    assert len(problem) < 300


@pytest.mark.parametrize(
    "answer", [Answer(202, None), Answer(410, "answered 410 Gone"), Answer(429, "answered 429 Too Many Requests", 60)]
)
def test_a_body_that_never_comes_does_not_change_what_the_status_means(receiver: Receiver, answer: Answer) -> None:
    def bodiless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(answer.status or 0)
        request.send_header("Content-Length", "10")
        request.send_header("Retry-After", "60")
        request.end_headers()
        silent(request)

    receiver.behaviour = bodiless
    assert told(receiver.target()) == answer


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [(429, "120", 120), (503, "7", 7), (500, "120", None), (429, "soon", None), (429, "-5", None), (429, "", None)],
)
def test_the_wait_that_a_receiver_asks_for_is_kept(
    receiver: Receiver, status: int, text: str, expected: float | None
) -> None:
    receiver.behaviour = answering(status, Retry_After=text)
    assert told(receiver.target()).retry_after_s == expected


def test_the_wait_may_be_given_as_a_date(receiver: Receiver) -> None:
    receiver.behaviour = answering(
        503, Retry_After=format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    )
    assert told(receiver.target()).retry_after_s == pytest.approx(3600, abs=5)


def test_a_connection_that_breaks_is_said(receiver: Receiver) -> None:
    receiver.behaviour = lambda request: request.connection.close()
    problem = told(receiver.target()).problem or ""
    assert problem.startswith("127.0.0.1: ")
    assert len(problem) > len("127.0.0.1: ")


def test_a_name_that_does_not_exist_is_said(receiver: Receiver) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    assert told(receiver.target(url="https://hooks.test/"), resolve=unknown).problem == (
        "hooks.test cannot be resolved: Name or service not known"
    )
