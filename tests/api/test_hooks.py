"""Webhooks: who is let in, what is written down once, and what strangers learn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook

from registry_auditor.config import Hook
from tests.api.answers import REFUSED, is_problem
from tests.api.conftest import Service, Start
from tests.api.senders import (
    OTHER_SECRET,
    SENDERS,
    SHA,
    STANDARD_SECRET,
    Sent,
    from_hub,
    from_mlflow,
    from_standard,
)

TARGETS = {"hf": f"hf:org/tuned@{SHA}", "mlflow": "mlflow:demo model@1", "standard": "hf:org/tuned"}
SIGNATURES = {"hf": "x-webhook-secret", "mlflow": "x-mlflow-signature", "standard": "webhook-signature"}


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
