"""Bodies that are malformed, too large or never end, under signatures that are good."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from registry_auditor.api.body import MAX_BYTES
from tests.api.answers import REFUSED, is_problem
from tests.api.conftest import Service
from tests.api.senders import (
    OTHER_SECRET,
    SENDERS,
    SHA,
    Sent,
    about,
    from_hub,
    push,
    registered,
)

MALFORMED: dict[str, tuple[str, Any]] = {
    "no JSON": ("hf", b"{"),
    "nothing": ("mlflow", b""),
    "a list": ("standard", b"[]"),
    "no UTF-8": ("mlflow", b'{"entity": "\xff"}'),
    "deeply nested": ("hf", b'{"event":' * 100_000),
    "deeply nested lists": ("mlflow", b"[" * 500_000),
    "a number without end": ("mlflow", b'{"entity": ' + b"9" * 100_000 + b"}"),
    "half a surrogate": ("mlflow", b'{"entity": "\\ud800", "action": "created", "data": {}}'),
    "no repository": ("hf", {"event": {"action": "update", "scope": "repo.content"}}),
    "a name that climbs": ("hf", push("org/../../etc/passwd")),
    "a name without owner": ("hf", push("tuned")),
    "a name with NUL": ("hf", push("org/tu\0ned")),
    "a name that ends its line": ("hf", push("org/tuned\n")),
    "a name that is an option": ("hf", push("-x/tuned")),
    "a name of another script": ("hf", push("org/tun\u0435d")),
    "a short commit": ("hf", push(sha="575db8b")),
    "a commit that is a path": ("hf", push(sha="../" + SHA[3:])),
    "a commit in capitals": ("hf", push(sha=SHA.upper())),
    "a version that is none": ("mlflow", registered(version="latest")),
    "a model with NUL": ("mlflow", registered("a\0b")),
    "a model that is a path": ("mlflow", registered("a/b")),
    "a model of other control signs": ("mlflow", registered("a\x1b[2J")),
    "an endless name": ("mlflow", registered("x" * 10_000)),
    "data of another type": ("mlflow", registered(data="text")),
    "a list for a model": ("standard", {"type": "x", "data": {"model": ["hf:org/name"]}}),
    "an unknown registry": ("standard", about("file:///etc/passwd")),
    "a model that is a flag": ("standard", about("hf:--help/x")),
    "a model without registry": ("standard", about("org/name")),
    "a folder with NUL": ("standard", about("dir:/models/\0")),
    "no type": ("standard", {"data": {"model": "hf:org/name"}}),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_bodies_are_refused_and_nothing_is_written_down(on_sqlite: Service, fault: str) -> None:
    source, body = MALFORMED[fault]
    answer = on_sqlite.post(SENDERS[source](body))
    assert is_problem(answer, 400), answer.text
    assert len(answer.text) < 1000
    assert on_sqlite.targets() == []


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_body_is_not_looked_at_before_its_signature_is_good(on_sqlite: Service, fault: str) -> None:
    source, body = MALFORMED[fault]
    assert on_sqlite.post(SENDERS[source](body, secret=OTHER_SECRET)).json() == REFUSED


def test_the_largest_body_is_taken(on_sqlite: Service) -> None:
    body = json.dumps(push()).encode()
    assert on_sqlite.post(from_hub(body + b" " * (MAX_BYTES - len(body)))).status_code == 202


def test_a_body_that_is_declared_too_large_is_not_read(on_sqlite: Service) -> None:
    with socket.create_connection(("127.0.0.1", on_sqlite.port), timeout=10) as raw:
        raw.sendall(_head(from_hub(), f"content-length: {MAX_BYTES + 1}"))  # and not one byte more
        assert _status(raw) == 413


@pytest.mark.parametrize("length", ["99999999999999999999999999999", "9" * 400])
def test_a_length_beyond_all_measure_is_refused(on_sqlite: Service, length: str) -> None:
    with socket.create_connection(("127.0.0.1", on_sqlite.port), timeout=10) as raw:
        raw.sendall(_head(from_hub(), f"content-length: {length}"))
        assert _status(raw) in (400, 413)


def test_a_body_that_grows_too_large_is_not_read_to_its_end(on_sqlite: Service) -> None:
    with socket.create_connection(("127.0.0.1", on_sqlite.port), timeout=10) as raw:
        raw.sendall(_head(from_hub(), "transfer-encoding: chunked"))
        for _ in range(MAX_BYTES // 2**16):
            raw.sendall(b"10000\r\n" + b" " * 2**16 + b"\r\n")
        raw.sendall(b"1\r\n \r\n")  # the byte too many; the end never comes
        assert _status(raw) == 413
    assert on_sqlite.targets() == []


def test_a_large_body_is_answered_even_if_it_is_sent_at_once(on_sqlite: Service) -> None:
    for _ in range(3):
        assert is_problem(on_sqlite.post(from_hub(b" " * (MAX_BYTES + 1))), 413)
        assert is_problem(on_sqlite.post(from_hub(b" " * (3 * MAX_BYTES))), 413)
    assert on_sqlite.post(from_hub()).status_code == 202


def test_a_sender_that_hangs_up_leaves_nothing(on_sqlite: Service) -> None:
    with socket.create_connection(("127.0.0.1", on_sqlite.port), timeout=10) as raw:
        raw.sendall(_head(from_hub(), "content-length: 1000") + b"{")
    assert on_sqlite.post(from_hub()).status_code == 202
    assert len(on_sqlite.targets()) == 1


def _head(sent: Sent, framing: str) -> bytes:
    headers = "".join(f"{name}: {value}\r\n" for name, value in sent.headers.items())
    return f"POST {sent.path} HTTP/1.1\r\nhost: x\r\n{headers}{framing}\r\n\r\n".encode()


def _status(raw: socket.socket) -> int:
    """The status of the answer, which comes although the request is not complete."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = raw.recv(2**16)
        assert received, "the connection was closed without an answer"
        answer += received
    return int(answer.split()[1])
