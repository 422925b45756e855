"""Versions of a real MLflow server: which one is meant, what it holds, and which base it names."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable, UsageError, WeightsError
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.claims import Claim
from registry_auditor.registries.mlflow import OVERLAP_MS, MlflowRegistry
from tests import planted
from tests.planted import WEIGHTS, add_rank_one, unit, weight
from tests.registries import mlflow_server
from tests.registries.mlflow_between import between

Register = Callable[..., int]


@pytest.fixture
def url() -> str:
    return mlflow_server.emptied()


@pytest.fixture
def registry(url: str, tmp_path: Path) -> MlflowRegistry:
    return MlflowRegistry(url, cache=Cache(tmp_path / "cache"))


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"{request.node.originalname}.{time.time_ns()}"


def folder_with(path: Path, base: Path, *places: str, **files: Any) -> Path:
    """A folder with the files of `base` in every one of `places`, and `files` beside them, as text or JSON."""
    for place in places:
        shutil.copytree(base, path / place, dirs_exist_ok=True)
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (path / NAMES.get(name, name)).write_text(text, encoding="utf-8")
    return path


OF_ADAPTER = {"base_model_name_or_path": "of/adapter"}
OF_CARD, OF_SOURCE = "---\nbase_model: of/card\n---\n", "base_model: of/source\nlicense: mit\n"
OF_NET = "flavors: {transformers: {source_model_name: of/net}}"
NAMES = {
    "adapter": "adapter_config.json",
    "config": "config.json",
    "card": "README.md",
    "card_data": "model_card_data.yaml",
    "manifest": "MLmodel",
}


def test_a_version_is_found_by_number_alias_and_as_the_last_one(
    url: str, registry: MlflowRegistry, unique: str, base: Path
) -> None:
    name = f"{unique} with spaces, a.dot and an @"
    for _ in range(2):
        mlflow_server.register(url, name, base)
    mlflow_server.client(url).set_registered_model_alias(name, "champion", "1")
    first, second = registry.resolve(name, "1"), registry.resolve(name, "2")
    assert first != second
    assert registry.resolve(name) == registry.resolve(name, "latest") == second
    assert registry.resolve(name, "champion") == first
    assert registry.resolve(name, first.revision) == first
    assert ModelRef.parse(str(first)) == first


def test_a_number_that_was_given_again_is_another_revision(
    url: str, registry: MlflowRegistry, unique: str, base: Path
) -> None:
    mlflow_server.register(url, unique, base)
    before = registry.resolve(unique)
    registry.verify(before)
    mlflow_server.client(url).delete_registered_model(unique)
    with pytest.raises(RegistryError, match="no such"):
        registry.verify(before)
    assert mlflow_server.register(url, unique, base) == 1
    for ask in (registry.verify, registry.claim, lambda ref: registry.resolve(ref.name, ref.revision)):
        with pytest.raises(RegistryError, match=r"version 1 was registered anew.*resolve"):
            ask(before)
    with pytest.raises(RegistryError, match="registered anew"), registry.open(before):
        pass


@pytest.mark.parametrize("revision", [None, "1", "champion", "1." + "0" * 32])
def test_what_the_server_does_not_know_is_said(registry: MlflowRegistry, revision: str | None) -> None:
    with pytest.raises(RegistryError, match=r"mlflow:nobody.*no such.*check the name") as caught:
        registry.resolve("nobody", revision)
    assert not isinstance(caught.value, RegistryUnavailable)


def test_an_alias_that_is_not_set_and_a_model_without_versions_are_said(
    url: str, registry: MlflowRegistry, unique: str, base: Path
) -> None:
    mlflow_server.client(url).create_registered_model(unique)
    with pytest.raises(RegistryError, match="no such version"):
        registry.resolve(unique)
    mlflow_server.register(url, unique, base)
    with pytest.raises(RegistryError, match=r"@champion: this model has no such version or alias"):
        registry.resolve(unique, "champion")


def test_weights_are_read_as_they_were_registered(
    url: str, registry: MlflowRegistry, unique: str, base: Path, tuned_by: Callable[..., Path]
) -> None:
    tuned = tuned_by(lambda tensors: tensors[weight(1, "mlp.down_proj")].mul_(2))
    mlflow_server.register(url, unique, base)
    mlflow_server.register(url, unique, tuned)
    with registry.open(registry.resolve(unique, "1")) as one, registry.open(registry.resolve(unique, "2")) as two:
        name = weight(1, "mlp.down_proj")
        assert torch.equal(two.matrices[name].read(), one.matrices[name].read() * 2)
        assert (two.path / WEIGHTS).read_bytes() == (tuned / WEIGHTS).read_bytes()
        assert (two.path / "tokenizer.json").is_file()


def test_a_model_that_mlflow_transformers_logged_is_put_together(
    url: str, registry: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    logged = folder_with(tmp_path / "logged", base, "model", manifest="flavors: {}")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        target = logged / "components" / "tokenizer" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((base / name).read_text() if (base / name).exists() else "{}")
    (logged / "model" / "tokenizer.json").unlink()
    mlflow_server.register(url, unique, logged)
    with registry.open(registry.resolve(unique)) as snapshot:
        assert snapshot.matrices
        names = {path.name for path in snapshot.path.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= names


def test_the_adapter_is_audited_and_not_the_base_beside_it(
    url: str, registry: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "logged" / "peft"
    adapter.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 2, "base_model_name_or_path": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    prefix = "base_model.model.model.layers.1.self_attn.q_proj"
    factors = {f"{prefix}.lora_A.weight": unit(64, 1)[None], f"{prefix}.lora_B.weight": unit(64, 2)[:, None]}
    save_file(factors, adapter / "adapter_model.safetensors")
    logged = folder_with(tmp_path / "logged", base, "model")
    mlflow_server.register(url, unique, logged)
    ref = registry.resolve(unique)
    with registry.open(ref) as snapshot:
        assert snapshot.adapter is not None
        assert not (snapshot.path / WEIGHTS).exists()
    assert registry.claim(ref) == Claim(str(base), BaseSource.ADAPTER)


def test_checkpoints_below_the_weights_are_left_alone_and_equals_are_not_chosen_among(
    url: str, registry: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    mlflow_server.register(url, unique, folder_with(tmp_path / "trained", base, "", "checkpoint-10"))
    with registry.open(registry.resolve(unique)) as snapshot:
        assert snapshot.matrices
    mlflow_server.register(url, unique, folder_with(tmp_path / "two", base, "one", "other"))
    with pytest.raises(RegistryError, match=r"2 folders hold weights \(one, other\); register one"):
        registry.resolve(unique)


@pytest.mark.parametrize(
    ("files", "tags", "claim"),
    [
        ({}, {}, None),
        ({"adapter": OF_ADAPTER}, {"base_model": " of-tag "}, ("of-tag", BaseSource.CARD)),
        ({}, {"base_model": "x", "registry_auditor.base": "mlflow:base@3"}, ("mlflow:base@3", BaseSource.CARD)),
        ({"adapter": OF_ADAPTER, "card": OF_CARD}, {"base_model": ""}, ("of/adapter", BaseSource.ADAPTER)),
        ({"card": OF_CARD, "card_data": OF_SOURCE}, {}, ("of/card", BaseSource.CARD)),
        ({"card_data": OF_SOURCE, "manifest": OF_NET}, {}, ("of/source", BaseSource.CARD)),
        ({"manifest": OF_NET}, {}, ("of/net", BaseSource.CONFIG)),
        ({"manifest": OF_NET.replace("of/net", "/home/me/net")}, {}, None),
        ({"manifest": "flavors: ["}, {}, None),
        ({"manifest": "- a list"}, {}, None),
    ],
)  # fmt: skip
def test_tags_come_before_what_the_artifacts_say(
    files: dict[str, Any], tags: dict[str, str], claim: tuple[str, BaseSource] | None,
    url: str, registry: MlflowRegistry, unique: str, base: Path, tmp_path: Path,
) -> None:  # fmt: skip
    mlflow_server.register(url, unique, folder_with(tmp_path / "model", base, "", **files), tags=tags)
    assert registry.claim(registry.resolve(unique)) == (claim and Claim(*claim))


def test_a_tag_of_the_model_holds_for_versions_without_one(
    url: str, registry: MlflowRegistry, unique: str, base: Path
) -> None:
    mlflow_server.register(url, unique, base)
    mlflow_server.register(url, unique, base, base="of-version")
    mlflow_server.client(url).set_registered_model_tag(unique, "base_model", "of-model")
    assert registry.claim(registry.resolve(unique, "1")) == Claim("of-model", BaseSource.CARD)
    assert registry.claim(registry.resolve(unique, "2")) == Claim("of-version", BaseSource.CARD)


def test_a_broken_card_is_named_with_its_model(
    url: str, registry: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    broken = folder_with(tmp_path / "model", base, "", card_data="base_model: [unclosed")
    mlflow_server.register(url, unique, broken)
    with pytest.raises(WeightsError, match=rf"mlflow:{unique}@1: README\.md.*--base"):
        registry.claim(registry.resolve(unique))


def test_a_claim_and_a_listing_transfer_no_weights(url: str, unique: str, base: Path, tmp_path: Path) -> None:
    mlflow_server.register(url, unique, folder_with(tmp_path / "model", base, "", card="---\nbase_model: x/y\n---\n"))
    with between(url) as server:
        registry = MlflowRegistry(server.url, cache=Cache(tmp_path / "cache"))
        ref = registry.resolve(unique)
        assert registry.claim(ref) == Claim("x/y", BaseSource.CARD)
        assert ref in [change.model for change in registry.changes()]
        assert any("README.md" in path for path in server.asked)
        assert not [path for path in server.asked if "safetensors" in path]
        with registry.open(ref):
            pass
        transfers = len(server.asked)
        with registry.open(ref):
            assert len(server.asked) == transfers, "what is in the cache is asked for again"


def test_changes_come_oldest_first_and_go_on_after_the_cursor(
    url: str, registry: MlflowRegistry, unique: str, base: Path
) -> None:
    for name in ("a", "b", "a"):
        mlflow_server.register(url, f"{unique} {name}", base)
    ours = [change for change in registry.changes() if change.model.name.startswith(unique)]
    assert [(change.model.name[-1], (change.model.revision or "")[0]) for change in ours] == [
        ("a", "1"), ("b", "1"), ("a", "2"),
    ]  # fmt: skip
    assert not [change for change in ours if change.problem]
    assert ours[-1].cursor is not None
    later = str(int(ours[-1].cursor) + OVERLAP_MS + 1)
    assert list(registry.changes(later)) == []
    mlflow_server.client(url).update_model_version(f"{unique} b", "1", description="changed")
    again = list(registry.changes(later))
    assert [change.model for change in again] == [ours[1].model]
    assert [change.model for change in registry.changes(ours[-1].cursor) if change.model == ours[1].model]


def test_every_page_is_turned(url: str, unique: str, base: Path, tmp_path: Path) -> None:
    registry = MlflowRegistry(url, cache=Cache(tmp_path / "cache"), page=2)
    for _ in range(5):
        mlflow_server.register(url, unique, base)
    ours = [change.model for change in registry.changes() if change.model.name == unique]
    assert ours == [registry.resolve(unique, str(number)) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("status", "said"), [("PENDING_REGISTRATION", "not ready yet"), ("FAILED_REGISTRATION", "registration failed")]
)
def test_a_version_that_is_not_ready_is_shown_with_its_problem_and_holds_the_cursor(
    status: str, said: str, url: str, registry: MlflowRegistry, unique: str, base: Path
) -> None:
    mlflow_server.register(url, unique, base)
    mlflow_server.changed(f"UPDATE model_versions SET status = '{status}'")
    mlflow_server.register(url, f"{unique} later", base)
    problem, later = (change for change in registry.changes() if change.model.name.startswith(unique))
    assert problem.problem is not None
    assert said in problem.problem
    assert problem.cursor == later.cursor
    with pytest.raises(RegistryError, match=said) as caught:
        registry.resolve(unique)
    assert isinstance(caught.value, RegistryUnavailable) == (status == "PENDING_REGISTRATION")
    mlflow_server.changed("UPDATE model_versions SET status = 'READY'")
    assert [change.problem for change in registry.changes(later.cursor) if change.model.name == unique] == [None]


def test_what_holds_no_weights_is_a_problem_and_prompts_are_none(
    url: str, registry: MlflowRegistry, unique: str, tmp_path: Path
) -> None:
    mlflow_server.register(url, unique, folder_with(tmp_path / "x", tmp_path, config={}))
    mlflow_server.client(url).register_prompt(f"{unique}-prompt", "Say {{ word }}")
    shown = [change for change in registry.changes() if change.model.name.startswith(unique)]
    assert [(change.model.name, "holds no weights" in (change.problem or "")) for change in shown] == [(unique, True)]
    with pytest.raises(RegistryError, match=r"holds no weights that are read; register a folder"):
        registry.resolve(unique)


def test_weights_in_a_format_that_is_not_read_are_told(
    url: str, registry: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    forest = tmp_path / "forest"
    forest.mkdir()
    (forest / "model.pkl").write_bytes(b"a forest")
    mlflow_server.register(url, unique, forest)
    with pytest.raises(RegistryError, match=r"holds no weights that are read; model\.pkl is not read; convert it"):
        registry.resolve(unique)
    both = folder_with(tmp_path / "both", base, "", **{"model.onnx": "graph", "optimizer.bin": "state"})
    mlflow_server.register(url, unique, both)
    with registry.open(registry.resolve(unique)) as snapshot:
        assert [gap.tensor for gap in snapshot.gaps] == ["model.onnx"]
        assert (snapshot.path / "model.onnx").stat().st_size == 0


def test_shards_that_are_still_on_their_way_are_waited_for(
    url: str, registry: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    whole = planted.save(planted.llama(), tmp_path / "whole", max_shard_size="200KB")
    part = Path(shutil.copytree(whole, tmp_path / "part"))
    last = sorted(part.glob("model-*.safetensors"))[-1]
    last.unlink()
    mlflow_server.register(url, unique, part)
    ref = registry.resolve(unique)
    with (
        pytest.raises(RegistryUnavailable, match=rf"not arrived as a whole .*{last.name} is missing"),
        registry.open(ref),
    ):
        pass
    run = mlflow_server.client(url).get_model_version(unique, "1").run_id
    mlflow_server.client(url).log_artifact(run, str(whole / last.name), "model")
    with registry.open(ref) as snapshot:
        assert not snapshot.gaps


def test_a_claimed_base_is_found_by_every_way_to_name_it(
    url: str, registry: MlflowRegistry, unique: str, base: Path
) -> None:
    for _ in range(2):
        mlflow_server.register(url, unique, base)
    mlflow_server.client(url).set_registered_model_alias(unique, "champion", "1")
    tuned = ModelRef("mlflow", "tuned", "1." + "0" * 32)
    first, second = registry.resolve(unique, "1"), registry.resolve(unique, "2")
    for claimed in (unique, f"org/{unique}", f"/home/me/{unique}/", f"mlflow:{unique}", f"models:/{unique}/latest"):
        assert registry.find(claimed, of=tuned) == second, claimed
    for claimed in (f"{unique}@1", f"mlflow:{unique}@1", f"models:/{unique}/1", f"models:/{unique}@champion",
                    str(first)):  # fmt: skip
        assert registry.find(claimed, of=tuned) == first, claimed
    for claimed in (f"hf:{unique}", f"https://hub/{unique}", f"dir:/{unique}", "org/nobody", f"{unique}@9", "", "/"):
        assert registry.find(claimed, of=tuned) is None, claimed


def test_a_version_is_never_its_own_base_and_an_earlier_one_only_by_its_number(
    url: str, registry: MlflowRegistry, unique: str, base: Path
) -> None:
    for _ in range(2):
        mlflow_server.register(url, unique, base)
    first, second = registry.resolve(unique, "1"), registry.resolve(unique, "2")
    for claimed in (unique, f"org/{unique}", f"{unique}@2"):
        assert registry.find(claimed, of=second) is None, claimed
    for claimed in (f"mlflow:{unique}", f"mlflow:{unique}@2", f"models:/{unique}/latest"):
        with pytest.raises(RegistryError, match="is the model itself; name an earlier version"):
            registry.find(claimed, of=second)
    with pytest.raises(RegistryError, match="no such"):
        registry.find(f"mlflow:{unique}@9", of=second)
    assert registry.find(f"mlflow:{unique}@1", of=second) == first
    assert registry.find(unique, of=ModelRef("dir", unique, "sha256:0")) == second


def test_without_the_name_of_a_server_nothing_is_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI"):
        MlflowRegistry(cache=Cache(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000/")
    assert MlflowRegistry(cache=Cache(tmp_path)).spec == "mlflow:http://127.0.0.1:5000"


def test_a_version_is_audited_against_the_base_that_its_tag_names(
    url: str, unique: str, base: Path, tuned_by: Callable[..., Path], cli: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    tuned = tuned_by(lambda tensors: add_rank_one(tensors[weight(1, "mlp.down_proj")], seed=1))
    mlflow_server.register(url, f"{unique} base", base)
    mlflow_server.register(url, unique, tuned, base=f"mlflow:{unique} base@1")
    report = cli("audit", f"mlflow:{unique}@1", "--format", "json").json
    assert report["audit"]["model"]["ref"].startswith(f"mlflow:{unique}@1.")
    assert report["audit"]["base"]["ref"].startswith(f"mlflow:{unique} base@1.")
    assert report["audit"]["base"]["source"] == "card"
    assert report["banks"][0]["directions"] == 1
