"""Pages without a browser: who may see them, where signing in leads, what they show and what they cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from registry_auditor.api.pages.analyzers import sections
from registry_auditor.api.pages.models import trees
from registry_auditor.api.pages.session import local
from registry_auditor.domain import ModelRef, Scope, TriageState
from registry_auditor.store import Store
from registry_auditor.store.catalogue import Descent
from tests.api.pages.conftest import Client, audit_of, signed_in


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


def test_a_suppression_is_made_and_ended(client: Client, store: Store) -> None:
    inside, until = client(open_to_all=True), (datetime.now(UTC) + timedelta(days=9)).date()
    assert "180" in inside.post("/suppressions", data={"code": "x/*", "reason": "r", "until": "2999-01-01"}).text
    inside.post("/suppressions", data={"code": "svd-diff/*", "reason": "known", "until": until.isoformat()})
    (rule,) = store.suppressions.list(active=True).items
    assert (rule.code, rule.reason, rule.expires_at.date()) == ("svd-diff/*", "known", until)
    inside.post(f"/suppressions/{rule.id}/end")
    assert store.suppressions.list(active=True).items == ()


PAGES = (
    "/", "/models", "/lineage", "/audits", "/audits/new", "/findings", "/triage", "/suppressions", "/compare",
    "/analyzers", "/registries",
)  # fmt: skip
MOST_STATEMENTS = {"/": 32, "{audit}": 16, "{finding}": 16, "{model}": 16, "{direction}": 24, "{comparison}": 32}
"""Elsewhere at most 8; what matters is that none of them grows with what is stored."""


def test_statements_do_not_grow_with_what_is_stored(client: Client, store: Store) -> None:
    audits = [audit_of(store, f"org/m{number}") for number in range(2)]

    def count(inside: TestClient, name: str, path: str) -> int:
        sent: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            sent.append(statement)

        sa.event.listen(store._engine, "before_cursor_execute", note)
        assert inside.get(path).status_code == 200, path
        sa.event.remove(store._engine, "before_cursor_execute", note)
        found = [each for each in sent if not each.startswith("BEGIN")]
        assert len(found) <= MOST_STATEMENTS.get(name, 8), (path, found)
        return len(found)

    direction = store.directions.list(limit=1).items[0]
    paths = {path: path for path in PAGES} | {
        "{audit}": f"/audits/{audits[0]}",
        "{direction}": f"/directions/{direction.bank}/{direction.ordinal}",
        "{comparison}": f"/compare?before={audits[0]}&after={audits[1]}",
        "{finding}": f"/findings/{store.findings().items[-1].id}",
        "{model}": f"/models/{store.models.list().items[-1].id}",
    }
    inside = client(open_to_all=True)
    few = {name: count(inside, name, path) for name, path in paths.items()}
    for number in range(8):
        audit_of(store, f"org/more{number}", findings=9)
    inside = client(open_to_all=True)  # which has read nothing yet
    more = {name: count(inside, name, path) for name, path in paths.items()}
    assert {name: (number, few[name]) for name, number in more.items() if number > few[name]} == {}


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
