"""Lists: pages that fit together, filters, and what a place in a list may not be used for."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from registry_auditor.store.catalogue import model_id
from tests.api.v1.conftest import Api
from tests.api.v1.planted import BASE

LISTS = (
    "/models",
    "/audits",
    "/findings",
    "/suppressions",
    "/directions",
    "/direction-banks",
    "/sightings",
    "/tokens",
    "/writes",
)


def key(item: dict[str, Any]) -> Any:
    return item.get("id") or item.get("sha256") or str(sorted(item.items(), key=str))


@pytest.mark.parametrize("path", LISTS)
def test_pages_of_one_are_the_list(still: Api, path: str) -> None:
    whole = still.get(path)
    assert whole["next"] is None
    assert len(whole["items"]) > (path == "/suppressions") - 1
    found, after = [], None
    while True:
        page = still.get(path, limit=1, **({"after": after} if after else {}))
        found += page["items"]
        after = page["next"]
        if after is None:
            break
        assert len(found) < 100
    assert list(map(key, found)) == list(map(key, whole["items"]))


PLACES = (
    "x",
    "0199",
    "hf:org/tuned",
    '["audits","\\u0000"]',
    '["audits","\\ud800"]',
    '["findings by newest","\\u0000"]',
    '["directions",NaN,"x",1]',
    '["directions",1e999,"\\u0000",-9]',
    '["models","hf","\\ud800"]',
    '["banks","\u200b"]',
    '["sightings",-9e18]',
    '["sightings",9223372036854775807]',
    '["sightings",2147483648]',
    '["directions",1.0,"x",-2147483649]',
    '["tokens","%"]',
    "9" * 300,
)


@pytest.mark.parametrize("path", [*LISTS, "/findings?sort=severity", "/findings?sort=fpr"])
@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_somebody_made_up_harms_nobody(still: Api, path: str, place: str) -> None:
    after = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
    separator = "&" if "?" in path else "?"
    answer = still.admin.get(f"/api/v1{path}{separator}after={after}")
    assert answer.status_code in (200, 422), answer.text


@pytest.mark.parametrize("after", ["", "%%%", "AAAA", "_", "0199a1b2-7c3d", "x" * 6001])
@pytest.mark.parametrize("path", LISTS)
def test_what_is_no_place_is_refused(still: Api, path: str, after: str) -> None:
    answer = still.admin.get(f"/api/v1{path}", params={"after": after})
    assert answer.status_code == 422
    assert "after" in answer.text


@pytest.mark.parametrize("path", LISTS)
def test_a_place_in_one_list_continues_no_other(still: Api, path: str) -> None:
    other = "/audits" if path != "/audits" else "/writes"
    place = still.get(other, limit=1)["next"]
    answer = still.admin.get(f"/api/v1{path}", params={"after": place})
    assert answer.status_code == 422
    assert "another list" in answer.json()["detail"]


def test_a_place_in_one_order_continues_no_other(still: Api) -> None:
    place = still.get("/findings", limit=1)["next"]
    answer = still.admin.get("/api/v1/findings", params={"sort": "score", "after": place})
    assert answer.status_code == 422
    assert "findings by score" in answer.json()["detail"]


def test_a_place_among_the_revisions_of_one_model_continues_those_of_no_other(still: Api) -> None:
    place = still.get(f"/models/{still.planted.model}/revisions", limit=1)["next"]
    answer = still.admin.get(f"/api/v1/models/{model_id(BASE)}/revisions", params={"after": place})
    assert answer.status_code == 422


FILTERS = {
    "/audits?verdict=fail": 1,
    "/audits?verdict=pass": 1,
    "/audits?state=queued": 1,
    "/audits?model=hf:org/tuned": 2,
    "/audits?model=hf:org/t*@3f*": 1,
    "/findings?severity=high": 1,
    "/findings?severity=low": 4,
    "/findings?code=svd-diff/rank-*": 3,
    "/findings?code=*/nothing": 0,
    "/findings?analyzer=svd-diff": 4,
    "/findings?model=hf:org/tuned@4a3b": 2,
    "/findings?base=hf:org/base": 4,
    "/findings?base=hf:org/other*": 0,
    "/findings?state=in_triage": 2,
    "/findings?counts=false": 1,
    "/findings?fpr=0.01": 3,
    "/findings?calibrated=false": 1,
    "/findings?text=update+large": 1,
    "/findings?since=2020-01-01T00:00:00Z": 4,
    "/findings?since=2999-01-01T00:00:00%2B01:00": 0,
    "/findings?until=2020-01-01T00:00:00Z": 0,
    "/findings?since=0001-01-01T00:00:00%2B14:00": 4,
    "/findings?until=0001-01-01T00:00:00Z": 0,
    "/findings?since=9999-12-31T23:59:59-14:00": 0,
    "/findings?until=9999-12-31T23:59:59Z": 4,
    "/audits?since=0001-01-01T00:00:00Z": 3,
    "/audits?until=9999-12-31T23:59:59-14:00": 3,
    "/sightings?skipped=true": 1,
    "/sightings?registry=hf:org": 4,
    "/sightings?registry=hf:other": 0,
    "/models?model=hf:org/tuned": 1,
    "/models?verdict=fail": 1,
    "/directions?layer=3": 2,
    "/directions?tensor=*layers.4.*": 2,
    "/directions?rank=1": 0,
    "/suppressions?active=true": 1,
    "/suppressions?active=false": 0,
    "/direction-banks?basis=digest-of-base": 2,
    "/direction-banks?basis=other": 0,
}


@pytest.mark.parametrize("path", FILTERS)
def test_filters_leave_what_fits(still: Api, path: str) -> None:
    answer = still.reader.get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["items"]) == FILTERS[path]


UNFIT = (
    "/findings?severity=grave",
    "/findings?fpr=2",
    "/findings?since=yesterday",
    "/findings?since=2026-01-01T00:00:00",
    "/findings?since=2026-01-01T00:00:00+01:00",
    "/findings?since=2026-06-31T00:00:00Z",
    "/findings?since=2026",
    "/audits?since=20260101",
    "/audits?until=1700000000",
    "/findings?model=" + "*a" * 20,
    "/findings?model=a%00b",
    "/findings?sort=random",
    "/audits?limit=0",
    "/audits?limit=501",
    "/audits?limit=many",
    "/directions?layer=-1",
    "/directions?layer=99999999999999999999",
)


@pytest.mark.parametrize("path", UNFIT)
def test_filters_that_do_not_fit_are_refused(still: Api, path: str) -> None:
    answer = still.reader.get(f"/api/v1{path}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("query.")


def test_sorted_by_severity_the_worst_come_first(still: Api) -> None:
    found = still.get("/findings", sort="severity")["items"]
    assert [finding["severity"] for finding in found] == ["high", "medium", "medium", "low"]
