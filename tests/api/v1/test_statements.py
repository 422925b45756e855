"""How many SQL statements an answer takes: the same however much is on a page."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.api.v1.conftest import Api
from tests.api.v1.test_scopes import address

TOKEN = 1
"""Who asks is one statement; once a minute another one notes it."""
STATEMENTS: dict[str, int] = {
    "/api/v1/models": 4,
    "/api/v1/models/{model_id}": 4,
    "/api/v1/models/{model_id}/revisions": 5,
    "/api/v1/models/{model_id}/lineage": 5,
    "/api/v1/models/{model_id}/diff": 29,
    "/api/v1/lineage": 3,
    "/api/v1/audits": 1,
    "/api/v1/audits?model=hf:org/*&state=done": 1,
    "/api/v1/audits/{audit_id}": 1,
    "/api/v1/audits/{audit_id}/runs": 6,
    "/api/v1/audits/{audit_id}/coverage": 6,
    "/api/v1/audits/{audit_id}/report": 11,
    "/api/v1/findings": 3,
    "/api/v1/findings?severity=high&state=not_set&text=large&sort=severity": 4,
    "/api/v1/findings?audit={audit_id}": 4,
    "/api/v1/findings/{finding_id}": 3,
    "/api/v1/findings/{finding_id}/events": 6,
    "/api/v1/suppressions": 1,
    "/api/v1/suppressions/{suppression_id}": 1,
    "/api/v1/directions": 2,
    "/api/v1/directions?audit={audit_id}": 3,
    "/api/v1/direction-banks": 1,
    "/api/v1/direction-banks/{sha256}": 1,
    "/api/v1/analyzers": 1,
    "/api/v1/analyzers/{name}": 1,
    "/api/v1/registries": 1,
    "/api/v1/sightings": 1,
    "/api/v1/tokens": 1,
    "/api/v1/tokens/{token_id}": 1,
    "/api/v1/writes": 1,
}


@pytest.mark.parametrize("path", STATEMENTS)
def test_an_answer_takes_a_fixed_number_of_statements(still: Api, path: str, sent_by: Callable[..., list[str]]) -> None:
    where = address(path, still.planted)
    assert still.admin.get(where).status_code == 200  # the use of the token is noted by now
    sent = sent_by(still.store, lambda: still.admin.get(where))
    assert len(sent) == TOKEN + STATEMENTS[path], "\n".join(sent)
