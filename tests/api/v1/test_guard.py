"""Who comes from where, how often and with how much: what is true of every route."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from registry_auditor.api.access import COOKIE, Access
from registry_auditor.api.body import MAX_BYTES
from registry_auditor.api.headers import POLICY
from registry_auditor.api.origins import is_loopback
from registry_auditor.api.rates import FAILURES_PER_MINUTE, Limits
from registry_auditor.domain import Author, Scope
from tests.api.v1.conftest import ADDRESS, Api, Open


def with_cookie(api: Api, scope: Scope) -> TestClient:
    return TestClient(api.app, base_url=ADDRESS, cookies={COOKIE: api.planted.secrets[scope]})


OURS = ADDRESS
ORIGINS = {
    "same origin": ({"sec-fetch-site": "same-origin"}, 200),
    "typed by the user": ({"sec-fetch-site": "none"}, 200),
    "same origin, over plain HTTP": ({"origin": OURS}, 200),
    "another site": ({"sec-fetch-site": "cross-site", "origin": "https://evil.test"}, 403),
    "another port of this host": ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:9999"}, 403),
    "another site, over plain HTTP": ({"origin": "http://evil.test"}, 403),
    "a sandboxed page": ({"origin": "null"}, 403),
    "nothing that says where from": ({}, 403),
}


@pytest.mark.parametrize("case", ORIGINS)
def test_a_cookie_writes_only_from_our_own_pages(api: Api, case: str) -> None:
    headers, status = ORIGINS[case]
    where = f"/api/v1/findings/{api.planted.finding}/triage"
    answer = with_cookie(api, Scope.TRIAGE).post(where, json={"state": "in_triage"}, headers=headers)
    assert answer.status_code == status, answer.text


def test_a_cookie_reads_from_wherever(still: Api) -> None:
    answer = with_cookie(still, Scope.READ).get("/api/v1/audits", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"sec-fetch-site": "cross-site"}, 403), ({"origin": "https://evil.test"}, 403)],
)
def test_without_tokens_no_page_of_another_site_writes(open_api: Open, headers: dict[str, str], status: int) -> None:
    api = open_api(open_to_all=True)
    where = f"/api/v1/findings/{api.planted.finding}/triage"
    assert api.stranger.post(where, json={"state": "in_triage"}, headers=headers).status_code == status


HOSTS = {
    "127.0.0.1:8321": 200,
    "localhost": 200,
    "LOCALHOST:1": 200,
    "[::1]:8321": 200,
    "rebound.evil.test:8321": 421,
    "127.0.0.1.evil.test": 421,
    "localhost.evil.test": 421,
    "evil.test:127.0.0.1": 421,
    "user@evil.test": 421,
    "0.0.0.0": 421,
    "192.168.0.7": 421,
    "": 421,
    "[": 421,
}


@pytest.mark.parametrize("host", HOSTS)
def test_without_tokens_only_names_of_this_machine_are_answered_to(open_api: Open, host: str) -> None:
    stranger = open_api(open_to_all=True).stranger
    answer = stranger.get("/api/v1/audits", headers={"host": host})
    assert answer.status_code == HOSTS[host]
    assert stranger.get("/health", headers={"host": host}).status_code == 200


def test_with_tokens_the_name_does_not_matter(still: Api) -> None:
    assert still.reader.get("/api/v1/audits", headers={"host": "auditor.example.org"}).status_code == 200


def test_loopback_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


def test_a_token_that_is_used_too_often_is_told_when_to_come_back(api: Api) -> None:
    api.app.state.access = Access(api.store, open_to_all=False, limits=Limits(reads=5))
    answers = [api.reader.get("/api/v1/audits") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert "at most 5 reads a minute" in answers[-1].json()["detail"]
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert api.admin.get("/api/v1/audits").status_code == 200, "others are not concerned"


def test_writes_are_counted_apart_and_by_the_settings(open_api: Open) -> None:
    api = open_api(reads_per_minute=4, writes_per_minute=2)
    triager, where = api.clients[Scope.TRIAGE], f"/api/v1/findings/{api.planted.finding}"
    wrote = [triager.post(f"{where}/triage", json={"state": "in_triage"}).status_code for _ in range(3)]
    assert wrote == [200, 200, 429]
    assert [triager.get(where).status_code for _ in range(5)] == [200] * 4 + [429]
    # What is asked with a POST and changes nothing is read.
    search = {"direction": {"bank": api.planted.bank, "ordinal": 0}}
    asked = [api.reader.post("/api/v1/directions:nearest", json=search).status_code for _ in range(5)]
    assert asked == [200] * 4 + [429]


@pytest.mark.parametrize("path", ["/audits", "/audits/{audit}/report", "/direction-banks/{bank}", "/audits/{bank}"])
def test_every_answer_to_a_token_tells_what_it_may_still_ask(open_api: Open, path: str) -> None:
    api = open_api(reads_per_minute=4)
    address = f"/api/v1{path.format(audit=api.planted.after.id, bank=api.planted.bank)}"
    left = []
    for method in ("GET", "HEAD", "GET", "GET", "GET"):
        answer = api.reader.request(method, address)
        assert answer.headers["ratelimit-policy"] == '"reads";q=4;w=60'
        name, remaining, seconds = answer.headers["ratelimit"].split(";")
        assert name == '"reads"'
        assert 1 <= int(seconds.removeprefix("t=")) <= 60
        left.append(remaining)
    assert left == ["r=3", "r=2", "r=1", "r=0", "r=0"]
    assert answer.status_code == 429
    assert "ratelimit" not in api.stranger.get(address).headers


def test_strangers_are_slowed_down_and_shut_nobody_out(api: Api) -> None:
    statuses = [api.stranger.get("/api/v1/audits").status_code for _ in range(FAILURES_PER_MINUTE + 2)]
    assert statuses == [401] * FAILURES_PER_MINUTE + [429, 429]
    assert api.reader.get("/api/v1/audits").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/audits", "/api/v1/tokens", "/api/v1/directions:nearest"])
def test_a_body_that_is_too_long_is_refused_before_it_is_read(still: Api, path: str) -> None:
    answer = still.admin.post(path, content=b"[" * (MAX_BYTES + 1), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_is_nested_too_deeply_is_refused(still: Api) -> None:
    answer = still.admin.post(
        "/api/v1/directions:nearest", content=b"[" * 500_000, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422)


def test_an_ended_token_opens_nothing(api: Api) -> None:
    assert api.reader.get("/api/v1/audits").status_code == 200
    api.store.tokens.revoke(api.planted.token, by=Author("cli:operator"))
    answer = api.reader.get("/api/v1/audits")
    assert (answer.status_code, "revoked" in answer.json()["detail"]) == (401, True)


PATHS = ("/api/v1/audits", "/api/v1/nothing", "/health", "/metrics", "/openapi.json")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_says_what_browsers_need_to_hear(still: Api, path: str) -> None:
    headers = still.stranger.get(path).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "unsafe" not in POLICY


def test_an_unexpected_error_tells_nothing_and_has_the_headers(api: Api) -> None:
    del api.app.state.store  # a mistake of ours
    answer = api.admin.get("/api/v1/audits")
    assert answer.status_code == 500
    assert "store" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY


def test_head_is_get_without_the_body(still: Api) -> None:
    asked, got = still.reader.head("/api/v1/audits"), still.reader.get("/api/v1/audits")
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-length"] == got.headers["content-length"] == str(len(got.content))
    assert still.reader.head("/api/v1/directions:nearest").status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/nothing", 404), ("PUT", "/api/v1/audits", 405), ("POST", "/api/v1/tokens", 422)],
)
def test_errors_of_the_router_are_problems_too(still: Api, method: str, path: str, status: int) -> None:
    answer = still.admin.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


def test_what_does_not_fit_is_listed_without_being_repeated(still: Api) -> None:
    secret = "correct-horse-battery-staple"
    body = {"name": "", "scopes": [secret], "expires_at": secret, "password": secret, "x" * 10_000: 1}
    answer = still.admin.post("/api/v1/tokens", json=body)
    assert answer.status_code == 422
    fields = {fault["field"] for fault in answer.json()["errors"]}
    assert {"body.name", "body.expires_at", "body.password"} <= fields
    assert secret not in answer.text
    assert len(answer.text) < 2000
