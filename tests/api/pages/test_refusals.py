"""How pages say no: to people as a page with the cause and what to do, to programs as a problem."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from registry_auditor.api.app import create_app
from registry_auditor.api.body import MAX_BYTES
from registry_auditor.api.headers import POLICY
from registry_auditor.api.rates import FAILURES_PER_MINUTE
from registry_auditor.config import Settings
from registry_auditor.domain import Scope
from registry_auditor.store import Store
from tests.api.pages.conftest import BROWSER, Client, audit_of, signed_in
from tests.postgresql import MIGRATED, away

PAGE, PROBLEM = "text/html; charset=utf-8", "application/problem+json"
MISSING = ("/nothing", "/findings/ffffffff", "/models/zz", "/directions/ff/1", "/analyzers/none", "/audits/ffff")


@pytest.fixture
def url(postgres_url: str) -> str:
    """It takes less than SQLite does: no NUL, for instance."""
    return postgres_url


def test_what_is_not_there_is_a_page_for_people_and_a_problem_for_programs(client: Client) -> None:
    inside = client(open_to_all=True)
    for path in MISSING:
        answer = inside.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, PAGE), path
        assert "Follow a link from one of the lists" in answer.text
        assert inside.get(path, headers={"accept": "*/*"}).headers["content-type"] == PROBLEM
    assert inside.get("/api/v1/audits/ffff").headers["content-type"] == PROBLEM


@pytest.mark.parametrize(
    ("path", "status", "cause", "remedy"),
    [
        ("/findings?severity=grave", 422, "severity: Input should be", "correct what was given"),
        ("/findings?code=******", 422, "has more than 5 stars", "correct what was given"),
        ("/findings?after=x", 422, "", "correct what was given"),
        ("/findings/ab/triage", 405, "it takes what a form sends", "send it from there"),
        ("/directions/ff/-1", 422, "ordinal: Input should be", "correct what was given"),
    ],
)
def test_a_wrong_address_says_what_is_wrong_with_it(
    client: Client, path: str, status: int, cause: str, remedy: str
) -> None:
    answer = client(open_to_all=True).get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PAGE)
    assert cause in answer.text
    assert remedy in answer.text
    assert answer.headers["content-security-policy"] == POLICY


def test_too_much_is_a_page(client: Client) -> None:
    answer = client(open_to_all=True).post("/suppressions", data={"reason": "x" * MAX_BYTES})
    assert (answer.status_code, answer.headers["content-type"]) == (413, PAGE)
    assert "nothing was taken" in answer.text


def test_too_often_is_a_page_that_says_when_to_come_back(client: Client) -> None:
    stranger = client()
    answers = [stranger.post("/login", data={"token": "ra_wrong"}) for _ in range(FAILURES_PER_MINUTE + 1)]
    assert {answer.status_code for answer in answers[:-1]} == {401}
    assert (answers[-1].status_code, answers[-1].headers["content-type"]) == (429, PAGE)
    assert f"come back in {answers[-1].headers['retry-after']} s" in answers[-1].text


def test_another_name_of_the_server_is_a_page(client: Client) -> None:
    inside = client(open_to_all=True)
    answer = inside.get("/", headers={"host": "rebound.evil.test"})
    assert (answer.status_code, answer.headers["content-type"]) == (421, PAGE)
    assert "--no-auth" in answer.text


def test_a_mistake_of_ours_is_a_page_with_a_number_that_the_log_has(
    client: Client, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    inside = client(open_to_all=True, raise_server_exceptions=False)
    del store.models  # a mistake of ours
    with caplog.at_level(logging.ERROR):
        answer = inside.get("/models")
    assert (answer.status_code, answer.headers["content-type"]) == (500, PAGE)
    assert answer.headers["content-security-policy"] == POLICY
    assert "Traceback" not in answer.text
    assert "models'" not in answer.text
    number = re.search("urn:uuid:[0-9a-f-]{36}", answer.text)
    assert number is not None
    assert number[0] in caplog.text
    told = inside.get("/api/v1/models")
    assert (told.status_code, told.headers["content-type"]) == (500, PROBLEM)
    assert told.json()["instance"].startswith("urn:uuid:")


def test_while_the_database_is_away_every_page_says_so(
    new_database: Callable[[str], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = new_database(MIGRATED)
    with Store.open(url, banks=str(tmp_path)) as store:
        inside = TestClient(create_app(Settings(db=url), store), base_url="http://127.0.0.1", headers=BROWSER)
        signed_in(inside, store, Scope.ADMIN)
        with away(url) as name:
            for path in ("/", "/audits", "/audits/new", "/findings/ab", "/suppressions"):
                answer = inside.get(path)
                assert (answer.status_code, answer.headers["content-type"]) == (503, PAGE), path
                assert int(answer.headers["retry-after"]) > 0
                assert "the database cannot be used now" in answer.text
                assert "registry-auditor doctor" in answer.text
                assert name not in answer.text
            assert inside.get("/api/v1/audits").headers["content-type"] == PROBLEM
            assert inside.get("/login").status_code == 200
        assert inside.get("/").status_code == 200
    assert name in caplog.text, "the log says which"


ODD = ("%00", "%FF", "%F0%9F%98%80", "..%2F..%2Fetc", "x" * 3000, "*" * 60, "-1", "%25", "9" * 40)
WHERE = (
    "/audits/{}", "/audits?model={}", "/audits?after={}", "/audits/new?model={}", "/compare?before={}&after=ab",
    "/findings/{}", "/findings?code={}", "/findings?model={}", "/findings?text={}", "/findings?after={}", "/{}",
    "/triage?model={}", "/triage?after={}", "/models/{}", "/models?model={}", "/models?after={}", "/analyzers/{}",
    "/directions/{}/0", "/directions/ab/{}", "/suppressions?after={}", "/registries?registry={}",
    "/registries?model={}", "/login?next={}",
)  # fmt: skip


def test_no_address_breaks_a_page(client: Client) -> None:
    inside = client(open_to_all=True, raise_server_exceptions=False)
    for path in (where.format(odd) for where in WHERE for odd in ODD):
        answer = inside.get(path, follow_redirects=False)
        assert answer.status_code < 500, path
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == PAGE, path


FORMS = ({"model": "hf:org/a"}, {"state": "resolved"}, {"code": "x/*", "reason": "r", "until": "2999-01-01"})


def test_no_form_breaks_a_page(client: Client, store: Store) -> None:
    inside = client(open_to_all=True, raise_server_exceptions=False)
    audit_of(store, "org/b")
    paths = ("/audits", f"/findings/{store.findings().items[0].id}/triage", "/suppressions")
    for path, form in zip(paths, FORMS, strict=True):
        for field in (*form, "base", "analyzers", "owner", "comment", "justification", "fingerprint", "until"):
            for odd in (" ", "\0", "\ud800".encode("utf-8", "surrogatepass"), "x" * 5000, "-1"):
                answer = inside.post(path, data={**form, field: odd}, follow_redirects=False)
                assert answer.status_code < 500, (path, field, odd)
