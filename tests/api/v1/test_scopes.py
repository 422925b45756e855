"""Every route asks for a token with the scope that stands in this table; none is missing from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from starlette.routing import BaseRoute

from registry_auditor.domain import Scope
from tests.api.v1.conftest import Api, Open
from tests.api.v1.planted import Planted

R, T, S, A = Scope.READ, Scope.TRIAGE, Scope.SUBMIT, Scope.ADMIN
OPEN = None

ROUTES: dict[tuple[str, str], Scope | None] = {
    ("GET", "/api/v1/models"): R,
    ("GET", "/api/v1/models/{model_id}"): R,
    ("GET", "/api/v1/models/{model_id}/revisions"): R,
    ("GET", "/api/v1/models/{model_id}/lineage"): R,
    ("GET", "/api/v1/models/{model_id}/diff"): R,
    ("GET", "/api/v1/lineage"): R,
    ("GET", "/api/v1/audits"): R,
    ("POST", "/api/v1/audits"): S,
    ("GET", "/api/v1/audits/{audit_id}"): R,
    ("GET", "/api/v1/audits/{audit_id}/runs"): R,
    ("GET", "/api/v1/audits/{audit_id}/coverage"): R,
    ("GET", "/api/v1/audits/{audit_id}/report"): R,
    ("POST", "/api/v1/audits/{audit_id}:cancel"): S,
    ("GET", "/api/v1/findings"): R,
    ("GET", "/api/v1/findings/{finding_id}"): R,
    ("GET", "/api/v1/findings/{finding_id}/events"): R,
    ("POST", "/api/v1/findings/{finding_id}/triage"): T,
    ("GET", "/api/v1/suppressions"): R,
    ("POST", "/api/v1/suppressions"): T,
    ("GET", "/api/v1/suppressions/{suppression_id}"): R,
    ("DELETE", "/api/v1/suppressions/{suppression_id}"): T,
    ("GET", "/api/v1/directions"): R,
    ("POST", "/api/v1/directions:nearest"): R,
    ("GET", "/api/v1/direction-banks"): R,
    ("GET", "/api/v1/direction-banks/{sha256}"): R,
    ("GET", "/api/v1/analyzers"): R,
    ("GET", "/api/v1/analyzers/{name}"): R,
    ("GET", "/api/v1/analyzers/{name}/schema"): R,
    ("GET", "/api/v1/registries"): R,
    ("GET", "/api/v1/sightings"): R,
    ("GET", "/api/v1/tokens"): A,
    ("POST", "/api/v1/tokens"): A,
    ("GET", "/api/v1/tokens/{token_id}"): A,
    ("DELETE", "/api/v1/tokens/{token_id}"): A,
    ("GET", "/api/v1/writes"): A,
    ("GET", "/api/v1/openapi.json"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/health"): OPEN,
    ("GET", "/metrics"): OPEN,
    ("POST", "/hooks/{source}/{hook_id}"): OPEN,  # with secrets of their own
}
NO_PAGES = {key: scope for key, scope in ROUTES.items() if scope is not OPEN}

BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/audits": {"model": "hf:org/tuned"},
    "/api/v1/findings/{finding_id}/triage": {"state": "in_triage"},
    "/api/v1/suppressions": {"code": "x/y", "reason": "known", "expires_at": "2000-01-01T00:00:00Z"},
    "/api/v1/directions:nearest": {"vector": [1.0, 0.0], "basis": "nowhere"},
    "/api/v1/tokens": {"name": "other", "scopes": ["read"], "expires_at": "2000-01-01T00:00:00Z"},
}
"""Good enough to be let in, and refused afterwards where they would leave something behind."""


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if included := getattr(route, "effective_candidates", None):
            yield from routes_of(included())
        else:
            plain = getattr(route, "starlette_route", None) or route
            yield from ((method, plain.path) for method in plain.methods - {"HEAD"})


def address(path: str, planted: Planted) -> str:
    known = {
        "model_id": planted.model,
        "audit_id": planted.after.id,
        "finding_id": planted.finding,
        "suppression_id": planted.suppression,
        "sha256": planted.bank,
        "name": "svd-diff",
        "token_id": planted.token,
    }
    return path.format(**known)


def test_every_route_of_the_api_is_in_the_table(api: Api) -> None:
    found = {(method, path) for method, path in routes_of(api.app.routes) if path.startswith(("/api", "/open", "/h"))}
    assert {key for key in ROUTES if key[1] != "/metrics"} == found


@pytest.mark.parametrize(("method", "path"), NO_PAGES)
def test_a_route_opens_to_its_scope_and_to_no_other(api: Api, method: str, path: str) -> None:
    wanted = NO_PAGES[method, path]
    body = BODIES.get(path) if method == "POST" else None
    where = address(path, api.planted)
    unknown = api.as_("ra_0123456789abcdef01234567_" + "a" * 43)
    for nobody in (api.stranger, unknown):
        refused = nobody.request(method, where, json=body)
        assert refused.status_code == 401, refused.text
        assert refused.headers["www-authenticate"].startswith("Bearer")
    good = {wanted, A} if wanted is not R else set(Scope)
    for scope in sorted(Scope, key=lambda scope: scope in good):  # those who may come last: they may end something
        answer = api.clients[scope].request(method, where, json=body)
        assert (answer.status_code != 403) == (scope in good), (scope, answer.text)
        assert answer.status_code not in (401, 500), answer.text


def test_pages_need_a_token_too(api: Api) -> None:
    inside = [
        (method, path)
        for method, path in routes_of(api.app.routes)
        if (method, path) not in ROUTES and not path.startswith(("/static", "/login", "/logout"))
    ]
    assert inside
    for method, path in inside:
        where = re.sub(r"{[^}]*}", "1", path)
        answer = api.stranger.request(method, where, follow_redirects=False)
        assert answer.status_code in (303, 401, 403), (method, path, answer.status_code)


def test_without_tokens_everybody_is_local(open_api: Open) -> None:
    api = open_api(open_to_all=True)
    assert api.stranger.get("/api/v1/tokens").status_code == 200
    where = f"/api/v1/findings/{api.planted.finding}/triage"
    assert api.stranger.post(where, json={"state": "in_triage"}).json()["triage"]["by"] == "local"
