"""Query parameters that no route has, and those that say nothing or two things: none is silently left out."""

from __future__ import annotations

import pytest

from tests.api.v1.conftest import Api

MISSPELT = {
    "/findings?severty=high": ("severty", "did you mean severity?"),
    "/findings?Severity=high": ("Severity", "did you mean severity?"),
    "/findings?fpr_max=0.1": ("fpr_max", "did you mean fpr?"),
    "/audits?verdct=fail": ("verdct", "did you mean verdict?"),
    "/audits?offset=50": ("offset", "known: after, base, limit, model, since, state, until, verdict"),
    "/models?Limit=1": ("Limit", "did you mean limit?"),
    "/direction-banks?page=2": ("page", "known: after, basis, limit"),
    "/lineage?depth=2": ("depth", "there are no parameters here"),
    "/suppressions?activ=true": ("activ", "did you mean active?"),
    "/audits/{audit}/report?form=sarif": ("form", "did you mean format?"),
    "/audits/{audit}?x" + "y" * 5000 + "=": ("x" + "y" * 99, "there are no parameters here"),
}


@pytest.mark.parametrize("path", MISSPELT)
def test_an_unknown_parameter_is_named_with_the_nearest_known_one(still: Api, path: str) -> None:
    answer = still.reader.get(f"/api/v1{path.format(audit=still.planted.after.id)}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (fault,) = answer.json()["errors"]
    field, problem = MISSPELT[path]
    assert fault["field"] == f"query.{field}"
    assert fault["problem"].endswith(problem)


def test_every_unknown_parameter_is_named(still: Api) -> None:
    answer = still.reader.get("/api/v1/findings?foo=1&severity=high&bar=2")
    assert {fault["field"] for fault in answer.json()["errors"]} == {"query.foo", "query.bar"}


@pytest.mark.parametrize("query", ["severity=low&severity=high", "limit=1&limit=1"])
def test_a_parameter_is_given_once(still: Api, query: str) -> None:
    answer = still.reader.get(f"/api/v1/findings?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": f"query.{query.partition('=')[0]}", "problem": "is given more than once"}
    ]


EMPTY = (
    "/audits?model=",
    "/audits?base=",
    "/audits?state=",
    "/audits?since=",
    "/findings?audit=",
    "/findings?analyzer=",
    "/findings?text=",
    "/findings?fingerprint=",
    "/findings?counts=",
    "/directions?tensor=",
    "/direction-banks?basis=",
    "/sightings?registry=",
    "/audits?limit=",
    "/audits?after=",
)


@pytest.mark.parametrize("path", EMPTY)
def test_a_filter_that_says_nothing_is_refused(still: Api, path: str) -> None:
    assert still.admin.get(f"/api/v1{path}").status_code == 422


def test_a_write_with_a_parameter_writes_nothing(api: Api) -> None:
    before = api.get("/writes")
    refused = api.admin.post("/api/v1/audits?fail_on=low", json={"model": "hf:org/tuned"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "query.fail_on"
    assert api.get("/writes") == before


def test_whoever_may_not_ask_is_told_that_first(still: Api) -> None:
    assert still.stranger.get("/api/v1/findings?severty=high").status_code == 401
    assert still.reader.get("/api/v1/tokens?nme=x").status_code == 403
