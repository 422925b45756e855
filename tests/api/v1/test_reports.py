"""Reports over the API that are compared with an earlier audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.api.v1.conftest import Api

SCHEMA = json.loads((Path(__file__).parents[2] / "report" / "schemas" / "sarif-2.1.0.json").read_text(encoding="utf-8"))


def report(api: Api, audit: str, **asked: Any) -> Any:
    return api.reader.get(f"/api/v1/audits/{audit}/report", params=asked)


def test_sarif_tells_what_is_new_since_an_earlier_audit(still: Api) -> None:
    answer = report(still, still.planted.after.id, format="sarif", before=still.planted.before.id)
    assert answer.headers["content-type"] == "application/sarif+json"
    log = answer.json()
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(log)
    states = [(each["ruleId"], each["baselineState"]) for each in log["runs"][0]["results"]]
    assert sorted(states) == [
        ("svd-diff/large-update", "new"),
        ("svd-diff/rank-one-update", "absent"),
        ("svd-diff/rank-one-update", "unchanged"),
    ]
    alone = report(still, still.planted.after.id, format="sarif")
    assert alone.headers["etag"] != answer.headers["etag"]
    assert "baselineState" not in alone.text


REFUSED = {
    "another form": ({"format": "html"}, "before", 422, "before: goes with format=sarif"),
    "no form": ({}, "before", 422, "not with json"),
    "itself": ({"format": "sarif"}, "after", 422, "not earlier"),
    "another model": ({"format": "sarif"}, "queued", 422, "an audit of hf:org/next"),
    "none": ({"format": "sarif"}, "ffffffff", 404, "ffffffff"),
    "no id": ({"format": "sarif"}, "../x", 422, "is no id"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused(still: Api, case: str) -> None:
    asked, before, status, told = REFUSED[case]
    audit = getattr(still.planted, before, None)
    answer = report(still, still.planted.after.id, before=before if audit is None else audit.id, **asked)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True), answer.text
