"""The Hub: what its refusals mean, which commit a name stands for, and what works without a network."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants, snapshot_download

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries.hub import HubRegistry
from tests.planted import WEIGHTS
from tests.registries.conformance import refs
from tests.registries.hub_http import Answer
from tests.registries.hub_repos import claiming
from tests.registries.hub_server import Fault, HubServer


def test_a_gated_model_is_audited_with_a_token_that_opens_it(
    hub: HubServer, registry: HubRegistry, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push("org/gated", base)
    hub.gate("org/gated", "hf_admitted")
    ref = registry.resolve("org/gated")
    with pytest.raises(RegistryError, match=r"org/gated.*ask for access.*HF_TOKEN"), registry.open(ref):
        pass
    monkeypatch.setenv("HF_TOKEN", "hf_somebody-else")
    with pytest.raises(RegistryError, match="ask for access"), registry.open(ref):
        pass
    monkeypatch.setenv("HF_TOKEN", "hf_admitted")
    assert [change.problem for change in registry.changes()] == [None]
    with registry.open(ref) as snapshot:
        assert snapshot.matrices


def test_a_private_model_is_not_there_without_a_token(
    hub: HubServer, registry: HubRegistry, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push("org/private", base)
    hub.repos["org/private"].private = True
    hub.repos["org/private"].admitted = frozenset({"hf_ours"})
    with pytest.raises(RegistryError, match="private; check the name and HF_TOKEN"):
        registry.resolve("org/private")
    monkeypatch.setenv("HF_TOKEN", "hf_ours")
    assert registry.resolve("org/private").revision


def test_a_renamed_model_has_the_name_it_has_now(hub: HubServer, registry: HubRegistry, base: Path) -> None:
    commit = hub.push("org/old", base)
    seen = registry.resolve("org/old")
    hub.rename("org/old", "org/new")
    assert registry.resolve("org/old") == registry.resolve("org/new") == ModelRef("hf", "org/new", commit)
    assert registry.find("org/old", of=seen) == ModelRef("hf", "org/new", commit)


def test_a_model_that_was_renamed_after_it_was_seen_opens_by_its_old_name(
    hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    hub.push("org/old", base)
    ref = registry.resolve("org/old")
    hub.rename("org/old", "org/new")
    with registry.open(ref) as snapshot:
        assert torch.isfinite(next(iter(snapshot.matrices.values())).read()).all()


def test_a_model_that_vanished_after_it_was_seen_says_so(hub: HubServer, registry: HubRegistry, base: Path) -> None:
    hub.push("org/model", base)
    ref = registry.resolve("org/model")
    hub.remove("org/model")
    with pytest.raises(RegistryError, match=r"org/model.*no such model") as caught, registry.open(ref):
        pass
    assert not isinstance(caught.value, RegistryUnavailable)
    with pytest.raises(RegistryError, match="no such model"):
        registry.claim(ref)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"Retry-After": "120"}, 120), ({"RateLimit": '"api";r=0;t=55'}, 55), ({}, None), ({"Retry-After": "soon"}, None),
     ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, 86400), ({"Retry-After": "9" * 30}, 86400),
     ({"RateLimit": '"api";r=3;t=55', "Retry-After": "7"}, 7)],
)  # fmt: skip
def test_a_rate_limit_says_how_long_to_wait_and_nobody_sleeps(
    headers: dict[str, str], wait_s: float | None, hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    hub.push("org/model", base)
    hub.always("hub/api/models*", Fault(429, headers))
    started = datetime.now(UTC)
    for asked in (lambda: registry.resolve("org/model"), lambda: list(registry.changes())):
        with pytest.raises(RegistryUnavailable, match="wait") as caught:
            asked()
        assert caught.value.retry_after_s == wait_s
    assert (datetime.now(UTC) - started).total_seconds() < 5


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_outage_is_told_as_something_that_passes(
    status: int, hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    hub.push("org/model", base)
    hub.always("hub/api/*", Fault(status))
    with pytest.raises(RegistryUnavailable, match=f"answers {status}"):
        registry.resolve("org/model")
    with pytest.raises(RegistryUnavailable):
        list(registry.changes())
    hub.heal()
    assert refs(registry.changes()) == {registry.resolve("org/model")}


def test_no_network_is_told_as_something_that_passes(
    registry: HubRegistry, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RegistryUnavailable, match=r"cannot be reached at http://127\.0\.0\.1:9.*local cache"):
        registry.resolve("org/model")
    with pytest.raises(RegistryUnavailable, match="network and HF_ENDPOINT"):
        list(registry.changes())


NONSENSE: dict[str, bytes] = {
    "html": b"<html>a portal</html>",
    "a list": b"[1, 2]",
    "no commit": b'{"id": "org/model", "sha": null, "siblings": []}',
    "a path for a commit": b'{"id": "org/model", "sha": "../../etc", "siblings": [{"rfilename": "model.safetensors"}]}',
    "a path for a name": b'{"id": "../x", "sha": "%s", "siblings": [{"rfilename": "model.safetensors"}]}' % (b"a" * 40),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_what_is_no_hub_is_named(kind: str, hub: HubServer, registry: HubRegistry) -> None:
    hub.always("hub/api/*", Fault(alter=lambda right, asked: Answer(200, NONSENSE[kind])))
    with pytest.raises(RegistryError, match="org/model"):
        registry.resolve("org/model")
    with pytest.raises(RegistryError):
        list(registry.changes())


def test_branches_and_commits_are_resolved(hub: HubServer, registry: HubRegistry, base: Path) -> None:
    first = hub.push("org/model", base)
    second = hub.push("org/model", base)
    third = hub.push("org/model", base, branch="try")
    found = [registry.resolve("org/model", each).revision for each in (None, "main", first, first[:10], "try")]
    assert found == [second, second, first, first, third]
    with pytest.raises(RegistryError, match=r"org/model@nothing: there is no such revision"):
        registry.resolve("org/model", "nothing")


def test_a_claim_costs_three_small_files(hub: HubServer, registry: HubRegistry, base: Path, tmp_path: Path) -> None:
    hub.push("org/tuned", claiming(base, tmp_path / "tuned", "base_model: org/base"))
    ref = registry.resolve("org/tuned")
    hub.forget()
    claim = registry.claim(ref)
    assert claim is not None
    assert (claim.name, claim.source) == ("org/base", BaseSource.CARD)
    assert {asked.path.rpartition("/")[2] for asked in hub.requests[1:]} == {"README.md", "config.json"}
    hub.forget()
    assert registry.claim(ref) == claim
    assert hub.requests == []


@pytest.mark.parametrize("claimed", ["/models/base", "../base", "a b", "", "org/none", "x/y/z", "x" * 200, "é"])
def test_a_claim_that_names_no_model_of_the_hub_is_not_found(
    claimed: str, hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    hub.push("org/model", base)
    assert registry.find(claimed, of=registry.resolve("org/model")) is None


def test_a_snapshot_of_the_client_is_audited_without_a_network(
    hub: HubServer, registry: HubRegistry, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push("org/model", claiming(base, tmp_path / "model", "base_model: org/base"))
    snapshot_download("org/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ref = registry.resolve("org/model")
    assert ref.revision == hub.repos["org/model"].head
    with registry.open(ref) as snapshot:
        assert all(torch.isfinite(matrix.read()).all() for matrix in snapshot.matrices.values())
    claim = registry.claim(ref)
    assert claim is not None
    assert claim.name == "org/base"


def test_an_incomplete_snapshot_of_the_client_is_not_audited_without_a_network(
    hub: HubServer, registry: HubRegistry, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.push("org/model", base)
    snapshot_download("org/model", allow_patterns=["config.json"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RegistryUnavailable, match="HF_HUB_OFFLINE"), registry.open(ModelRef("hf", "org/model", commit)):
        pass


def test_weights_that_the_client_has_do_not_travel_again(hub: HubServer, registry: HubRegistry, base: Path) -> None:
    commit = hub.push("org/model", base)
    snapshot_download("org/model", allow_patterns=[WEIGHTS])
    hub.forget()
    with registry.open(ModelRef("hf", "org/model", commit)) as snapshot:
        assert all(torch.isfinite(matrix.read()).all() for matrix in snapshot.matrices.values())
    assert not [asked for asked in hub.requests if asked.path.endswith(WEIGHTS) or asked.host == "cdn"]


def test_the_server_of_these_tests_sends_webhooks_as_the_hub_does(hub: HubServer, base: Path, tmp_path: Path) -> None:
    with HubServer(tmp_path / "receiver") as receiver:
        receiver.always("*", Fault(alter=lambda right, asked: Answer(202, b"{}")))
        hub.webhook(f"{receiver.url}/hooks/hf/one", "s3cret")
        commit = hub.push("org/model", base)
        (asked,) = receiver.requests
    assert (asked.method, asked.path, asked.headers["X-Webhook-Secret"]) == ("POST", "/hooks/hf/one", "s3cret")
    body = json.loads(asked.body)
    assert body["event"] == {"action": "update", "scope": "repo.content"}
    assert (body["repo"]["name"], body["updatedRefs"][0]["newSha"]) == ("org/model", commit)
