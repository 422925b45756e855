"""Webhooks: who is let in, what is written down, and what is answered."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from registry_auditor.api.body import MAX_BYTES
from registry_auditor.config import Hook
from tests.api.conftest import Service, Start
from tests.api.senders import (
    OTHER_SECRET,
    SENDERS,
    SHA,
    STANDARD_SECRET,
    Sent,
    about,
    from_hub,
    from_mlflow,
    from_standard,
    push,
    registered,
)

OLD_SHA = "c379e821c9c95d613899e8c4343e4bfee2b0c600"
TARGETS = {"hf": f"hf:org/tuned@{SHA}", "mlflow": "mlflow:demo model@1", "standard": "hf:org/tuned"}
REFUSED = {
    "type": "about:blank",
    "title": "Unauthorized",
    "status": 401,
    "detail": "the signature is missing, wrong or too old",
}
SIGNATURES = {"hf": "x-webhook-secret", "mlflow": "x-mlflow-signature", "standard": "webhook-signature"}


def is_problem(answer: Any, status: int) -> bool:
    return bool(
        answer.status_code == status == answer.json()["status"]
        and answer.headers["content-type"] == "application/problem+json"
        and answer.json().keys() == {"type", "title", "status", "detail"}
    )


@pytest.mark.parametrize("source", SENDERS)
def test_a_good_delivery_is_written_down_before_it_is_answered(service: Service, source: str) -> None:
    answer = service.post(SENDERS[source]())
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    assert service.targets() == [TARGETS[source]]


@pytest.mark.parametrize("source", SENDERS)
def test_a_repeated_delivery_is_accepted_and_written_down_once(service: Service, source: str) -> None:
    sent = SENDERS[source]()
    assert [service.post(sent).status_code for _ in range(3)] == [202] * 3
    assert service.targets() == [TARGETS[source]]


def test_identical_deliveries_at_once_are_written_down_once(service: Service) -> None:
    sent, answers = from_mlflow(), []
    threads = [threading.Thread(target=lambda: answers.append(service.post(sent).status_code)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 12
    assert service.targets() == ["mlflow:demo model@1"]


FORGERIES: dict[str, Callable[[str], Sent]] = {
    "no signature": lambda source: SENDERS[source]().without(SIGNATURES[source]),
    "an empty signature": lambda source: SENDERS[source]().having(**{SIGNATURES[source]: ""}),
    "another secret": lambda source: SENDERS[source](secret=OTHER_SECRET),
    "nonsense": lambda source: SENDERS[source]().having(**{SIGNATURES[source]: "v1,!! v1 ,, v2,AAAA"}),
    "an unknown hook": lambda source: SENDERS[source](hook="nobody"),
    "a hook of another source": lambda source: replace(
        SENDERS[source](), path=f"/hooks/{source}/{'hub' if source != 'hf' else 'mlflow'}"
    ),
    "an unknown source": lambda source: replace(SENDERS[source](), path="/hooks/gitlab/hub"),
    "a changed body": lambda source: replace(SENDERS[source](), body=SENDERS[source]().body + b" "),
    "a stale signature": lambda source: SENDERS[source](age_s=301),
    "a signature from the future": lambda source: SENDERS[source](age_s=-301),
    "no timestamp": lambda source: SENDERS[source]().without(f"{_family(source)}-timestamp"),
    "a timestamp that is none": lambda source: SENDERS[source]().having(**{f"{_family(source)}-timestamp": "nan"}),
    "another timestamp": lambda source: SENDERS[source]().having(
        **{f"{_family(source)}-timestamp": str(int(time.time()) - 60)}
    ),
    "no delivery id": lambda source: SENDERS[source]().without(_id(source)),
    "another delivery id": lambda source: SENDERS[source]().having(**{_id(source): "another"}),
    "an endless delivery id": lambda source: SENDERS[source](delivery="x" * 5000),
}
SIGNED_ONLY = [name for name in FORGERIES if any(word in name for word in ("body", "stamp", " id", "stale", "future"))]


def _family(source: str) -> str:
    return "x-mlflow" if source == "mlflow" else "webhook"


def _id(source: str) -> str:
    return "x-mlflow-delivery-id" if source == "mlflow" else "webhook-id"


def _forgeries() -> Iterator[Any]:
    for source in SENDERS:
        for name in FORGERIES:
            if source != "hf" or name not in SIGNED_ONLY:  # the Hub signs nothing
                yield pytest.param(source, name, id=f"{source}: {name}")


@pytest.mark.parametrize(("source", "forgery"), list(_forgeries()))
def test_whoever_does_not_have_the_secret_learns_nothing(on_sqlite: Service, source: str, forgery: str) -> None:
    answer = on_sqlite.post(FORGERIES[forgery](source))
    assert is_problem(answer, 401)
    assert answer.json() == REFUSED
    assert on_sqlite.targets() == []


@pytest.mark.parametrize("source", ["mlflow", "standard"])
def test_a_clock_that_is_a_little_off_is_forgiven(on_sqlite: Service, source: str) -> None:
    for number, age_s in enumerate((290, -290)):
        assert on_sqlite.post(SENDERS[source](age_s=age_s, delivery=f"id-{number}")).status_code == 202


@pytest.mark.parametrize("source", SENDERS)
def test_while_a_secret_is_replaced_both_are_good(start: Start, sqlite_url: str, source: str) -> None:
    hook = Hook(source=source, secret_env=["STANDARD_SECRET", "STANDARD_OLD_SECRET"])  # type: ignore[arg-type]
    service = start(sqlite_url, hooks={"both": hook})
    for secret in (STANDARD_SECRET, OTHER_SECRET):
        assert service.post(SENDERS[source](secret=secret, hook="both")).status_code == 202
    assert service.post(SENDERS[source](secret="whsec_" + "A" * 32, hook="both")).status_code == 401


def test_a_sender_may_sign_with_several_secrets(on_sqlite: Service) -> None:
    sent, other = from_standard(), from_standard(secret=OTHER_SECRET)
    both = f"v1a,AAAA {other.headers['webhook-signature']} {sent.headers['webhook-signature']}"
    assert on_sqlite.post(sent.having(webhook_signature=both)).status_code == 202


# What each sender says, and where we look then


HUB_EVENTS = {
    "a new branch and a tag": (
        push(
            updatedRefs=[
                {"ref": "refs/heads/main", "oldSha": None, "newSha": SHA},
                {"ref": "refs/heads/gguf", "oldSha": None, "newSha": OLD_SHA},
                {"ref": "refs/tags/v1", "oldSha": None, "newSha": SHA},
                {"ref": "refs/pr/7", "oldSha": None, "newSha": OLD_SHA},
            ]
        ),
        [f"hf:org/tuned@{SHA}", f"hf:org/tuned@{OLD_SHA}"],
    ),
    "a deleted branch": (push(sha=None), []),
    "a narrower scope": (
        push(event={"action": "update", "scope": "repo.content.lfs"}),
        [f"hf:org/tuned@{SHA}"],
    ),
    "a changed setting": (push(event={"action": "update", "scope": "repo.config"}, updatedConfig={}), []),
    "a comment": (push(event={"action": "create", "scope": "discussion.comment"}, updatedRefs=None), []),
    "another word": (push(event={"action": "update", "scope": "repository"}), []),
    "a deleted model": (push(event={"action": "delete", "scope": "repo"}), []),
    "a renamed model": (push(event={"action": "move", "scope": "repo"}, updatedRefs=None, movedTo={}), []),
    "a data set": (push() | {"repo": push()["repo"] | {"type": "dataset"}}, []),
    "its test of the hook": (push() | {"updatedRefs": []}, []),
}


@pytest.mark.parametrize("event", HUB_EVENTS)
def test_of_the_hub_only_new_commits_of_models_are_looked_at(on_sqlite: Service, event: str) -> None:
    body, targets = HUB_EVENTS[event]
    answer = on_sqlite.post(from_hub(body))
    assert (answer.status_code, answer.json()) == (202, {"accepted": len(targets)})
    assert sorted(map(str, on_sqlite.targets())) == sorted(targets)


def test_the_same_commit_of_another_repository_is_another_delivery(on_sqlite: Service) -> None:
    other = push("org/other")
    other["repo"]["id"] = "another"
    assert on_sqlite.post(from_hub()).status_code == on_sqlite.post(from_hub(other)).status_code == 202
    assert len(on_sqlite.targets()) == 2


MLFLOW_EVENTS = {
    "a tag": (
        registered(entity="model_version_tag", action="set", data={"name": "m", "version": "2", "key": "k"}),
        ["mlflow:m@2"],
    ),
    "an alias": (
        registered(entity="model_version_alias", data={"name": "m", "version": "3", "alias": "champion"}),
        ["mlflow:m@3"],
    ),
    "a name with spaces and signs": (registered("größtes modell @ home"), ["mlflow:größtes modell @ home@1"]),
    "a model without versions": (registered(entity="registered_model", data={"name": "m", "tags": {}}), []),
    "a prompt": (registered(entity="prompt_version"), []),
    "a removed tag": (registered(entity="model_version_tag", action="deleted"), []),
}


@pytest.mark.parametrize("event", MLFLOW_EVENTS)
def test_of_mlflow_versions_are_looked_at(on_sqlite: Service, event: str) -> None:
    body, targets = MLFLOW_EVENTS[event]
    answer = on_sqlite.post(from_mlflow(body))
    assert (answer.status_code, answer.json()) == (202, {"accepted": len(targets)})
    assert on_sqlite.targets() == targets


def test_the_test_deliveries_of_mlflow_lead_to_nothing(on_sqlite: Service) -> None:
    types = pytest.importorskip("mlflow.webhooks.types")
    for number, ((entity, action), payload) in enumerate(types.EVENT_TO_PAYLOAD_CLASS.items()):
        body = registered(entity=entity.value, action=action.value, data=payload.example())
        answer = on_sqlite.post(from_mlflow(body, delivery=f"test-{number}"))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 0})
    assert on_sqlite.targets() == []


def test_anything_else_may_name_a_model_or_a_watched_folder_or_nothing(on_sqlite: Service, models: Path) -> None:
    (models / "here").mkdir()
    named = ["hf:org/name@main", "mlflow:name@7", "mlflow:name", f"dir:{models}/here", f"dir:{models}/./here/"]
    for number, model in enumerate([*named, None]):
        answer = on_sqlite.post(from_standard(about(model), delivery=str(number)))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    assert on_sqlite.targets() == [*named[:4], f"dir:{models}/here", f"dir:{models}"]


@pytest.mark.parametrize("outside", ["/etc", "{models}/../secret", "{models}/link", "{models}-secret", "relative"])
def test_no_delivery_leads_out_of_the_watched_folders(on_sqlite: Service, models: Path, outside: str) -> None:
    if not (models / "link").exists():
        (models / "link").symlink_to("/etc")
    answer = on_sqlite.post(from_standard(about("dir:" + outside.format(models=models))))
    assert is_problem(answer, 400)
    assert on_sqlite.targets() == []


# Good signatures under bad bodies


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


# Sizes, and senders that do not end


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


# The rest of the address space


def test_other_methods_and_addresses_are_problems_too(on_sqlite: Service) -> None:
    assert is_problem(on_sqlite.client.get("/hooks/hf/hub"), 405)
    assert is_problem(on_sqlite.client.get("/nothing"), 404)
    assert is_problem(on_sqlite.client.get("/docs"), 404)


def test_the_server_does_not_tell_what_it_is(on_sqlite: Service) -> None:
    answers = [on_sqlite.post(from_hub()), on_sqlite.client.get("/nothing"), on_sqlite.client.get("/health")]
    assert not any("server" in answer.headers for answer in answers)


def test_the_standard_library_of_the_specification_signs_as_we_verify(on_sqlite: Service) -> None:
    sent = from_standard()
    Webhook(STANDARD_SECRET).verify(sent.body, sent.headers)
    assert on_sqlite.post(sent).status_code == 202
