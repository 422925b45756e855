"""A POST that is sent again does nothing again, and is answered as it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry_auditor.domain import Scope
from tests.api.v1.conftest import Api, Open

EXPIRY = (datetime.now(UTC) + timedelta(days=7)).isoformat()
KEY = {"idempotency-key": "4f1c0c2e"}
POSTS: dict[str, tuple[Scope, str, dict[str, Any]]] = {
    "triage": (Scope.TRIAGE, "/api/v1/findings/{finding}/triage", {"state": "false_positive", "comment": "checked"}),
    "suppression": (Scope.TRIAGE, "/api/v1/suppressions", {"code": "x/*", "reason": "known", "expires_at": EXPIRY}),
    "audit": (Scope.SUBMIT, "/api/v1/audits", {"model": "hf:org/fresh"}),
    "token": (Scope.ADMIN, "/api/v1/tokens", {"name": "ci", "scopes": ["read"]}),
    "cancel": (Scope.SUBMIT, "/api/v1/audits/{queued}:cancel", {}),
}


def post(api: Api, kind: str, headers: dict[str, str], **changes: Any) -> Any:
    scope, path, body = POSTS[kind]
    where = path.format(finding=api.planted.finding, queued=api.planted.queued.id)
    return api.clients[scope].post(where, json=body | changes, headers=headers)


def said(answer: Any) -> Any:
    """What was answered, without what is told only once."""
    return {**answer.json(), "secret": None}


def writes(api: Api) -> int:
    return len(api.store.writes.list(limit=500).items)


@pytest.mark.parametrize("kind", POSTS)
def test_the_same_request_again_is_answered_as_it_was(api: Api, kind: str) -> None:
    first = post(api, kind, KEY)
    assert first.is_success, first.text
    assert "idempotency-replayed" not in first.headers
    before = writes(api)
    again = post(api, kind, KEY)
    assert (again.status_code, said(again)) == (first.status_code, said(first))
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers.get("location") == first.headers.get("location")
    assert writes(api) == before


def test_the_secret_of_a_token_is_told_once(api: Api) -> None:
    assert post(api, "token", KEY).json()["secret"].startswith("ra_")
    assert post(api, "token", KEY).json()["secret"] is None


@pytest.mark.parametrize("kind", ["triage", "suppression", "token"])
def test_the_same_key_for_something_else_is_refused(api: Api, kind: str) -> None:
    assert post(api, kind, KEY).is_success
    changed = {"triage": {"comment": "other"}, "suppression": {"reason": "other"}, "token": {"name": "other"}}[kind]
    refused = post(api, kind, KEY, **changed)
    assert refused.status_code == 422
    assert "idempotency key" in refused.json()["detail"]


def test_keys_of_others_do_not_matter(api: Api) -> None:
    assert post(api, "triage", KEY).is_success
    path = f"/api/v1/findings/{api.planted.finding}/triage"
    answer = api.admin.post(path, json={"state": "in_triage"}, headers=KEY)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (200, False)


@pytest.mark.parametrize("kind", ["suppression", "audit", "token"])
def test_of_requests_at_the_same_moment_one_is_done(api: Api, kind: str) -> None:
    before = writes(api)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(api, kind, KEY), range(4)))
    assert {answer.status_code for answer in answers} <= {201, 202}, [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert writes(api) == before + 1


@pytest.mark.parametrize("key", ["", "x" * 201, "with space", "caf\u00e9"])
def test_a_key_is_short_and_printable(api: Api, key: str) -> None:
    assert post(api, "triage", {"idempotency-key": key.encode("latin-1")}).status_code == 422  # type: ignore[dict-item]


def test_every_write_says_who_did_what(open_api: Open) -> None:
    api = open_api()
    for kind in POSTS:
        assert post(api, kind, {}).is_success
    api.clients[Scope.TRIAGE].delete(f"/api/v1/suppressions/{api.planted.suppression}")
    api.admin.delete(f"/api/v1/tokens/{api.planted.token}")
    log = api.get("/writes", limit=7)["items"]
    assert [(line["by"], line["action"]) for line in reversed(log)] == [
        ("token:triage", "findings.triage"),
        ("token:triage", "suppressions.add"),
        ("token:submit", "audits.submit"),
        ("token:admin", "tokens.create"),
        ("token:submit", "audits.cancel"),
        ("token:triage", "suppressions.end"),
        ("token:admin", "tokens.revoke"),
    ]
    assert not any("ra_" in str(line["detail"]) for line in log)
