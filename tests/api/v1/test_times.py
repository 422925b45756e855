"""Times that people give: those at the ends of the calendar, and those that are none."""

from __future__ import annotations

import pytest

from tests.api.v1.conftest import Api

LAST = ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59+14:00")
PAST = ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00-14:00", "1970-01-01T00:00:00Z", "2026-01-01 00:00:00Z")
NONE = (2026, "2026", 4e9, "2099-01-01", "2099-01-01T00:00:00", "2099-02-30T00:00:00Z", "12d", True, [], "")


def triaged(api: Api, expires_at: object) -> int:
    said = {"state": "in_triage", "expires_at": expires_at}
    return api.admin.post(f"/api/v1/findings/{api.planted.finding}/triage", json=said).status_code


def token(api: Api, expires_at: object) -> int:
    wanted = {"name": "ci", "scopes": ["read"], "expires_at": expires_at}
    return api.admin.post("/api/v1/tokens", json=wanted).status_code


@pytest.mark.parametrize("time", LAST)
def test_what_lasts_as_long_as_the_calendar_lasts(api: Api, time: str) -> None:
    assert (triaged(api, time), token(api, time)) == (200, 201)
    shown = api.get(f"/findings/{api.planted.finding}")["triage"]["expires_at"]
    assert shown.startswith("9999-12-31T")


@pytest.mark.parametrize("time", [*PAST, *NONE])
def test_what_is_past_or_no_time_is_refused(api: Api, time: object) -> None:
    assert (triaged(api, time), token(api, time)) == (422, 422)
