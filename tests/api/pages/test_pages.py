"""Pages without a browser: who may see them, where signing in leads, how they say no, what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from registry_auditor.api.app import create_app
from registry_auditor.api.pages.analyzers import sections
from registry_auditor.api.pages.models import trees
from registry_auditor.api.pages.session import local
from registry_auditor.config import Settings
from registry_auditor.domain import (
    Author,
    BaseSource,
    Coverage,
    Finding,
    Job,
    ModelRef,
    Run,
    RunStatus,
    Scope,
    Severity,
    StepKey,
    SubjectKey,
    TriageState,
    Verdict,
)
from registry_auditor.store import Store
from registry_auditor.store.catalogue import AnalyzerInfo, Descent

BROWSER = {"accept": "text/html,*/*", "sec-fetch-site": "same-origin"}
BASE = ModelRef("hf", "org/base", "b" * 40)


def audit_of(store: Store, name: str, findings: int = 3) -> str:
    """The id of a finished audit with so many findings."""
    step = StepKey("svd-diff", 1, "params")
    audit = store.submit(Job(ModelRef("hf", name, "c" * 40), BASE, BaseSource.CARD, plan=(step,)))
    found = tuple(
        Finding("svd-diff/x", Severity.MEDIUM, f"seen {each}", evidence={"key": each}) for each in range(findings)
    )
    subject = SubjectKey(f"sha256:{name}", "sha256:base")
    store.claim(audit.id, "worker", lease_s=60)
    store.set_subject(audit.id, subject)
    store.save(audit.id, Run(step, subject, {}, RunStatus.OK, None, 1.0, "cpu", None, Coverage(3), found))
    store.finish(audit.id, Verdict.PASS, "complete")
    return audit.id


@pytest.fixture
def store(sqlite_url: str, tmp_path: Path) -> Iterator[Store]:
    with Store.open(sqlite_url, banks=str(tmp_path / "banks")) as opened:
        opened.analyzers.save([AnalyzerInfo("svd-diff", 1, ("base",), "what changed", "What it reports:\n    x", {})])
        yield opened


Client = Callable[..., TestClient]


@pytest.fixture
def client(store: Store, sqlite_url: str) -> Client:
    """A function that makes a browser without script, before a server that wants tokens unless told."""

    def make(*, open_to_all: bool = False, **options: Any) -> TestClient:
        app = create_app(Settings(db=sqlite_url), store, open_to_all=open_to_all)
        return TestClient(app, base_url="http://127.0.0.1", headers=BROWSER, **options)

    return make


def signed_in(client: TestClient, store: Store, *scopes: Scope) -> TestClient:
    _, secret = store.tokens.create("ann", frozenset(scopes), expires_at=None, by=Author("test"))
    answer = client.post("/login", data={"token": secret, "next": "/findings"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/findings")
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    return client


def test_a_stranger_is_sent_to_sign_in_and_comes_back(client: Client, store: Store) -> None:
    answer = client().get("/findings?severity=high", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Ffindings%3Fseverity%3Dhigh")
    page = client().get(answer.headers["location"])
    assert 'value="/findings?severity=high"' in page.text
    assert signed_in(client(), store, Scope.READ).get("/findings").status_code == 200


def test_a_wrong_token_opens_nothing(client: Client) -> None:
    answer = client().post("/login", data={"token": "ra_wrong"})
    assert answer.status_code == 401
    assert "unknown, was revoked or has expired" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "address",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/\t/evil", "/ü", ""],
)
def test_signing_in_leads_nowhere_else(address: str) -> None:
    assert local(address) == "/"


def test_a_page_of_another_site_cannot_write(client: Client, store: Store) -> None:
    audit_of(store, "org/a")
    finding = store.findings().items[0]
    inside = signed_in(client(), store, Scope.TRIAGE)
    for path in (f"/findings/{finding.id}/triage", "/suppressions", "/login", "/logout"):
        answer = inside.post(path, data={"state": "resolved"}, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403, path
    assert store.finding(finding.id).standing.state is TriageState.NOT_SET


def test_reading_is_not_enough_to_triage(client: Client, store: Store) -> None:
    audit_of(store, "org/a")
    path = f"/findings/{store.findings().items[0].id}"
    inside = signed_in(client(), store, Scope.READ)
    assert "<textarea" not in inside.get(path).text
    answer = inside.post(f"{path}/triage", data={"state": "resolved"})
    assert answer.status_code == 403
    assert "<h1>Forbidden" in answer.text


def test_what_is_not_there_is_a_page_for_people_and_a_problem_for_programs(client: Client) -> None:
    inside = client(open_to_all=True)
    for path in ("/nothing", "/findings/ffffffff", "/models/zz", "/directions/ff/1", "/analyzers/none"):
        answer = inside.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8"), path
    assert inside.get("/nothing", headers={"accept": "*/*"}).headers["content-type"] == "application/problem+json"


def test_a_suppression_is_made_and_ended(client: Client, store: Store) -> None:
    inside, until = client(open_to_all=True), (datetime.now(UTC) + timedelta(days=9)).date()
    assert "180" in inside.post("/suppressions", data={"code": "x/*", "reason": "r", "until": "2999-01-01"}).text
    inside.post("/suppressions", data={"code": "svd-diff/*", "reason": "known", "until": until.isoformat()})
    (rule,) = store.suppressions.list(active=True).items
    assert (rule.code, rule.reason, rule.expires_at.date()) == ("svd-diff/*", "known", until)
    inside.post(f"/suppressions/{rule.id}/end")
    assert store.suppressions.list(active=True).items == ()


PAGES = ("/", "/models", "/lineage", "/audits", "/findings", "/triage", "/suppressions", "/analyzers", "/registries")
MOST_STATEMENTS = {"/": 32, "{audit}": 16, "{finding}": 16, "{model}": 16}
"""Elsewhere at most 8; what matters is that none of them grows with what is stored."""


def test_statements_do_not_grow_with_what_is_stored(client: Client, store: Store) -> None:
    audits = [audit_of(store, f"org/m{number}") for number in range(2)]

    def count(name: str, path: str) -> int:
        sent: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            sent.append(statement)

        sa.event.listen(store._engine, "before_cursor_execute", note)
        assert client(open_to_all=True).get(path).status_code == 200, path
        sa.event.remove(store._engine, "before_cursor_execute", note)
        found = [each for each in sent if not each.startswith("BEGIN")]
        assert len(found) <= MOST_STATEMENTS.get(name, 8), (path, found)
        return len(found)

    paths = {path: path for path in PAGES} | {
        "{audit}": f"/audits/{audits[0]}",
        "{finding}": f"/findings/{store.findings().items[-1].id}",
        "{model}": f"/models/{store.models.list().items[-1].id}",
    }
    few = {name: count(name, path) for name, path in paths.items()}
    for number in range(8):
        audit_of(store, f"org/more{number}", findings=9)
    assert {name: count(name, path) for name, path in paths.items()} == few


def test_a_circle_of_claims_is_drawn_once() -> None:
    one, two, three = (ModelRef("hf", name) for name in ("a", "b", "c"))
    edges = [Descent(two, one, None, None), Descent(one, two, None, None), Descent(three, two, None, None)]
    (tree,) = trees(edges)
    assert tree.size == 4
    assert [child.ref.name for child in tree.children[0].children] == ["a", "c"]


def test_a_manual_page_is_read_by_its_headings() -> None:
    found = sections("What it does.\n\nWhat it reports:\n    - one\n      thing\n    - two\n\nSource:\n    Somebody.")
    assert [(each.heading, each.blocks) for each in found] == [
        ("", ("What it does.",)),
        ("What it reports", (("one thing", "two"),)),
        ("Source", ("Somebody.",)),
    ]
