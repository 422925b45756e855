"""What the Hub shows, in which order, and from which cursor on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.hub import SLACK, HubRegistry
from tests.registries.hub_http import Answer, Asked
from tests.registries.hub_repos import claiming
from tests.registries.hub_server import Fault, HubServer

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def names(changes: object) -> list[str]:
    return [change.model.name for change in changes]  # type: ignore[attr-defined]


def test_models_are_shown_oldest_first_however_many_pages_they_take(
    hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    for number in (3, 1, 4, 0, 2, 6, 5):
        hub.push(f"org/model-{number}", base, at=NOON + timedelta(hours=number))
    hub.push("other/model", base, at=NOON)
    assert names(registry.changes()) == [f"org/model-{number}" for number in range(7)]
    assert sum(asked.path == "/api/models" for asked in hub.requests) == 3


def test_a_look_at_what_is_new_reads_no_further_than_the_cursor(
    hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    for number in range(9):
        hub.push(f"org/model-{number}", base, at=NOON + timedelta(hours=number))
    hub.forget()
    assert names(registry.changes((NOON + timedelta(hours=8)).isoformat())) == ["org/model-8"]
    assert len(hub.requests) == 1


def test_what_changed_shortly_before_the_cursor_is_shown_again(
    hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    for name in ("one", "two"):
        hub.push(f"org/{name}", base, at=NOON)
    hub.push("org/late-in-the-list", base, at=NOON - SLACK / 2)
    hub.push("org/long-ago", base, at=NOON - 2 * SLACK)
    shown = names(registry.changes(NOON.isoformat()))
    assert shown[0] == "org/late-in-the-list"
    assert set(shown[1:]) == {"org/one", "org/two"}


@pytest.mark.parametrize("cursor", ["", "no date", "0001-01-01T00:00:00", "17"])
def test_a_cursor_that_is_none_leaves_out_nothing(
    cursor: str, hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    hub.push("org/model", base, at=NOON)
    assert names(registry.changes(cursor)) == ["org/model"]


def test_fine_tunes_and_adapters_of_a_base_are_watched_by_their_tags(
    hub: HubServer, cache: Cache, base: Path, tmp_path: Path
) -> None:
    hub.push("some/tuned", claiming(base, tmp_path / "tuned", "base_model: org/base"), at=NOON)
    adapter = claiming(base, tmp_path / "adapter", "base_model: org/base")
    (adapter / "adapter_config.json").write_text("{}")
    hub.push("some/adapter", adapter, at=NOON + timedelta(hours=1))
    hub.push("some/other", claiming(base, tmp_path / "other", "base_model: org/other"), at=NOON)
    hub.push("org/base", base)

    def shown(selector: str) -> list[str]:
        return names(HubRegistry(selector, cache=cache).changes())

    assert shown("base_model:org/base") == ["some/tuned", "some/adapter"]
    assert shown("base_model:finetune:org/base") == ["some/tuned"]
    assert shown("base_model:adapter:org/base") == ["some/adapter"]
    assert shown("some/tuned") == ["some/tuned"]
    assert shown("nobody") == shown("base_model:nobody/nothing") == []


def test_one_model_is_watched_by_its_name(hub: HubServer, cache: Cache, base: Path) -> None:
    registry = HubRegistry("org/model", cache=cache)
    hub.push("org/model", base, at=NOON)
    (first,) = registry.changes()
    assert first.model.revision == hub.repos["org/model"].head
    assert list(registry.changes((NOON + timedelta(hours=1)).isoformat())) == []
    commit = hub.push("org/model", base, at=NOON + timedelta(hours=2))
    (second,) = registry.changes(first.cursor)
    assert second.model == ModelRef("hf", "org/model", commit)


@pytest.mark.parametrize("selector", ["", "base_model:", "base_model:base", "basemodel:org/base", ":", "license:mit"])
def test_a_selector_that_names_nothing_is_an_error(selector: str, hub: HubServer, cache: Cache) -> None:
    with pytest.raises(RegistryError, match="hf:AUTHOR"):
        list(HubRegistry(selector, cache=cache).changes())


def test_what_cannot_be_audited_is_shown_with_the_reason(
    hub: HubServer, registry: HubRegistry, base: Path, tmp_path: Path
) -> None:
    empty, exported = tmp_path / "empty", tmp_path / "exported"
    for folder in (empty, exported):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    (exported / "model.gguf").write_bytes(b"x")
    hub.push("org/empty", empty)
    hub.push("org/exported", exported)
    for name in ("gated", "disabled", "fine"):
        hub.push(f"org/{name}", base)
    hub.gate("org/gated")
    hub.repos["org/disabled"].disabled = True
    problems = {change.model.name: change.problem for change in registry.changes()}
    assert problems["org/fine"] is None
    for name, why in (("empty", "no weights"), ("exported", "GGUF"), ("gated", "HF_TOKEN"), ("disabled", "disabled")):
        assert why in (problems[f"org/{name}"] or ""), name


def test_the_token_does_not_go_to_another_host_with_the_next_page(
    hub: HubServer, registry: HubRegistry, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push("org/model", base)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    def elsewhere(right: Answer, asked: Asked) -> Answer:
        return Answer(200, right.content, {"Link": f'<{hub.cdn_url}/api/models>; rel="next"'})

    hub.always("hub/api/models", Fault(alter=elsewhere))
    with pytest.raises(RegistryError, match="another host"):
        list(registry.changes())
    assert [asked.token for asked in hub.requests if asked.host == "cdn"] == []


def test_one_broken_entry_does_not_hide_the_others(hub: HubServer, registry: HubRegistry, base: Path) -> None:
    for name in ("one", "two"):
        hub.push(f"org/{name}", base)

    def broken(right: Answer, asked: Asked) -> Answer:
        shown = json.loads(right.body)
        shown[0]["sha"] = "../.."
        return Answer(200, json.dumps(shown).encode())

    hub.misbehave("hub/api/models", Fault(alter=broken))
    problems = [change.problem for change in registry.changes()]
    assert sum(problem is None for problem in problems) == 1
    assert sum("no answer of a Hub" in (problem or "") for problem in problems) == 1


def test_an_endpoint_that_lists_names_only_is_asked_about_each(
    hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    commit = hub.push("org/model", base)
    hub.misbehave("hub/api/models", Fault(alter=lambda right, asked: Answer(200, b'[{"id": "org/model"}]')))
    (change,) = registry.changes()
    assert change.model == ModelRef("hf", "org/model", commit)
    assert change.problem is None
