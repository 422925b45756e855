"""Asking for an audit on a page, and cancelling one."""

from __future__ import annotations

import pytest

from registry_auditor.domain import AuditState, BaseSource, Scope, Severity, Verdict
from registry_auditor.store import Store
from tests.api.pages.conftest import Client, audit_of, signed_in


@pytest.fixture
def url(sqlite_url: str) -> str:
    """The store does the same on both, which its own tests show."""
    return sqlite_url


def test_what_is_asked_for_waits_for_a_worker_and_is_logged(client: Client, store: Store) -> None:
    inside = signed_in(client(), store, Scope.SUBMIT)
    form = {"model": "hf:org/tuned", "base": "hf:org/base@main", "fail_on": "medium", "analyzers": ["svd-diff"]}
    answer = inside.post("/audits", data=form, follow_redirects=False)
    (audit,) = store.audits().items
    assert (answer.status_code, answer.headers["location"]) == (303, f"/audits/{audit.id}")
    assert (str(audit.job.model), str(audit.job.base)) == ("hf:org/tuned", "hf:org/base@main")
    assert (audit.job.base_source, audit.job.fail_on) == (BaseSource.OPERATOR, Severity.MEDIUM)
    assert audit.job.wish == {"svd-diff": {}}
    written = store.writes.list().items[0]
    assert (written.by, written.action, written.target) == ("token:ann", "audits.submit", audit.id)
    assert "waiting for a worker" in inside.get(f"/audits/{audit.id}").text


def test_what_is_left_empty_is_as_the_settings_and_the_model_say(client: Client, store: Store) -> None:
    client(open_to_all=True).post("/audits", data={"model": "hf:org/tuned", "base": " "})
    job = store.audits().items[0].job
    assert (job.base, job.base_source, job.fail_on, job.wish) == (None, None, Severity.HIGH, None)


def test_asking_twice_makes_one_audit(client: Client, store: Store) -> None:
    inside = client(open_to_all=True)
    sent = [inside.post("/audits", data={"model": "hf:org/tuned"}, follow_redirects=False) for _ in range(2)]
    assert sent[0].headers["location"] == sent[1].headers["location"]
    assert len(store.audits().items) == 1


MISTAKES = {
    "nothing": ({"model": ""}, "name one, such as hf:org/name"),
    "no registry": ({"model": "org/tuned"}, "is not a model reference such as"),
    "an unknown registry": ({"model": "ftp:org/tuned"}, "unknown registry &#39;ftp&#39;; known: dir, hf, mlflow"),
    "a registry that is not watched": ({"model": "hf:other/tuned"}, "add hf:other or hf:other/tuned, to the setting"),
    "a folder that is not watched": ({"model": "dir:/etc"}, "add dir:FOLDER, a folder around it, to the setting"),
    "a base from elsewhere": ({"model": "hf:org/a", "base": "mlflow:base@1"}, "add mlflow:URL, to the setting"),
    "itself as the base": ({"model": "hf:org/a", "base": "hf:org/a"}, "this is the model itself"),
    "an analyzer that nobody has": (
        {"model": "hf:org/a", "analyzers": "x<y"},
        "installation that audits has x&lt;y",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_beside_its_field_and_nothing_is_lost(client: Client, store: Store, case: str) -> None:
    form, told = MISTAKES[case]
    answer = client(open_to_all=True).post("/audits", data={**form, "fail_on": "low"})
    assert answer.status_code == 422
    assert told in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert '<option value="low" selected>' in answer.text
    assert form["model"] in answer.text
    assert store.audits().items == ()


def test_the_form_says_what_to_do_where_no_registry_is_watched(client: Client) -> None:
    page = client(open_to_all=True, registries=()).get("/audits/new").text
    assert "This server watches no registry" in page
    assert '<form method="post" action="/audits"' not in page


def test_secrets_in_the_address_of_a_registry_stay_here(client: Client) -> None:
    page = client(open_to_all=True, registries=("mlflow:https://ann:secret@mlflow.test",)).get("/audits/new").text
    assert "mlflow:https://***@mlflow.test" in page
    assert "secret" not in page


def test_a_page_fills_the_form_in(client: Client, store: Store) -> None:
    audit = audit_of(store, "org/a")
    inside = client(open_to_all=True)
    assert "/audits/new?model=hf%3Aorg%2Fa&amp;base=hf%3Aorg%2Fbase" in inside.get(f"/audits/{audit}").text
    assert 'value="hf:org/a"' in inside.get("/audits/new?model=hf%3Aorg%2Fa").text


def test_who_may_not_submit_sees_neither_form_nor_button(client: Client, store: Store) -> None:
    client(open_to_all=True).post("/audits", data={"model": "hf:org/tuned"})
    audit = store.audits().items[0].id
    inside = signed_in(client(), store, Scope.TRIAGE)
    for path in ("/audits", f"/audits/{audit}", "/models", "/"):
        page = inside.get(path).text
        assert "/audits/new" not in page
        assert "/cancel" not in page
    for answer in (
        inside.get("/audits/new"),
        inside.post("/audits", data={"model": "hf:org/other"}),
        inside.post(f"/audits/{audit}/cancel"),
    ):
        assert answer.status_code == 403
        assert "one with the scope submit" in answer.text
    assert [each.state for each in store.audits().items] == [AuditState.QUEUED]


def test_another_site_can_neither_ask_nor_cancel(client: Client, store: Store) -> None:
    inside = signed_in(client(), store, Scope.SUBMIT)
    inside.post("/audits", data={"model": "hf:org/tuned"})
    audit = store.audits().items[0].id
    for path in ("/audits", f"/audits/{audit}/cancel"):
        answer = inside.post(path, data={"model": "hf:org/other"}, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403, path
    assert [each.state for each in store.audits().items] == [AuditState.QUEUED]


@pytest.mark.parametrize("running", [False, True])
def test_an_unfinished_audit_is_cancelled_and_says_by_whom(client: Client, store: Store, running: bool) -> None:
    inside = signed_in(client(), store, Scope.SUBMIT)
    inside.post("/audits", data={"model": "hf:org/tuned"})
    audit = store.audits().items[0].id
    if running:
        store.claim(audit, "worker", lease_s=60)
    assert f'action="/audits/{audit}/cancel"' in inside.get(f"/audits/{audit}").text
    page = inside.post(f"/audits/{audit}/cancel")
    assert "cancelled by token:ann" in page.text
    assert "/cancel" not in page.text
    assert store.audit(audit).verdict is Verdict.INCOMPLETE
    assert store.writes.list().items[0].action == "audits.cancel"


def test_a_finished_audit_cannot_be_cancelled(client: Client, store: Store) -> None:
    audit = audit_of(store, "org/a")
    answer = client(open_to_all=True).post(f"/audits/{audit}/cancel")
    assert answer.status_code == 409
    assert "is done already: pass" in answer.text
    assert "Look at it again" in answer.text
