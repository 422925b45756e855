"""Which base a version of a real MLflow server names, and which version is meant by such a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import RegistryError, WeightsError
from registry_auditor.registries.claims import Claim
from registry_auditor.registries.mlflow import MlflowRegistry
from tests.planted import add_rank_one, weight
from tests.registries import mlflow_server
from tests.registries.mlflow_server import folder_with

OF_ADAPTER = {"base_model_name_or_path": "of/adapter"}
OF_CARD, OF_SOURCE = "---\nbase_model: of/card\n---\n", "base_model: of/source\nlicense: mit\n"
OF_NET = "flavors: {transformers: {source_model_name: of/net}}"


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
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path, tmp_path: Path,
) -> None:  # fmt: skip
    mlflow_server.register(mlflow_url, unique, folder_with(tmp_path / "model", base, "", **files), tags=tags)
    assert mlflow.claim(mlflow.resolve(unique)) == (claim and Claim(*claim))


def test_a_tag_of_the_model_holds_for_versions_without_one(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path
) -> None:
    mlflow_server.register(mlflow_url, unique, base)
    mlflow_server.register(mlflow_url, unique, base, base="of-version")
    mlflow_server.client(mlflow_url).set_registered_model_tag(unique, "base_model", "of-model")
    assert mlflow.claim(mlflow.resolve(unique, "1")) == Claim("of-model", BaseSource.CARD)
    assert mlflow.claim(mlflow.resolve(unique, "2")) == Claim("of-version", BaseSource.CARD)


def test_a_broken_card_is_named_with_its_model(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    broken = folder_with(tmp_path / "model", base, "", card_data="base_model: [unclosed")
    mlflow_server.register(mlflow_url, unique, broken)
    with pytest.raises(WeightsError, match=rf"mlflow:{unique}@1: README\.md.*--base"):
        mlflow.claim(mlflow.resolve(unique))


def test_a_claimed_base_is_found_by_every_way_to_name_it(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path
) -> None:
    for _ in range(2):
        mlflow_server.register(mlflow_url, unique, base)
    mlflow_server.client(mlflow_url).set_registered_model_alias(unique, "champion", "1")
    tuned = ModelRef("mlflow", "tuned", "1." + "0" * 32)
    first, second = mlflow.resolve(unique, "1"), mlflow.resolve(unique, "2")
    for claimed in (unique, f"org/{unique}", f"/home/me/{unique}/", f"mlflow:{unique}", f"models:/{unique}/latest"):
        assert mlflow.find(claimed, of=tuned) == second, claimed
    for claimed in (f"{unique}@1", f"mlflow:{unique}@1", f"models:/{unique}/1", f"models:/{unique}@champion",
                    str(first)):  # fmt: skip
        assert mlflow.find(claimed, of=tuned) == first, claimed
    for claimed in (f"hf:{unique}", f"https://hub/{unique}", f"dir:/{unique}", "org/nobody", f"{unique}@9", "", "/"):
        assert mlflow.find(claimed, of=tuned) is None, claimed


def test_a_version_is_never_its_own_base_and_an_earlier_one_only_by_its_number(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path
) -> None:
    for _ in range(2):
        mlflow_server.register(mlflow_url, unique, base)
    first, second = mlflow.resolve(unique, "1"), mlflow.resolve(unique, "2")
    for claimed in (unique, f"org/{unique}", f"{unique}@2"):
        assert mlflow.find(claimed, of=second) is None, claimed
    for claimed in (f"mlflow:{unique}", f"mlflow:{unique}@2", f"models:/{unique}/latest"):
        with pytest.raises(RegistryError, match="is the model itself; name an earlier version"):
            mlflow.find(claimed, of=second)
    with pytest.raises(RegistryError, match="no such"):
        mlflow.find(f"mlflow:{unique}@9", of=second)
    assert mlflow.find(f"mlflow:{unique}@1", of=second) == first
    assert mlflow.find(unique, of=ModelRef("dir", unique, "sha256:0")) == second


def test_a_version_is_audited_against_the_base_that_its_tag_names(
    mlflow_url: str, unique: str, base: Path, tuned_by: Callable[..., Path], cli: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    tuned = tuned_by(lambda tensors: add_rank_one(tensors[weight(1, "mlp.down_proj")], seed=1))
    mlflow_server.register(mlflow_url, f"{unique} base", base)
    mlflow_server.register(mlflow_url, unique, tuned, base=f"mlflow:{unique} base@1")
    report = cli("audit", f"mlflow:{unique}@1", "--format", "json").json
    assert report["audit"]["model"]["ref"].startswith(f"mlflow:{unique}@1.")
    assert report["audit"]["base"]["ref"].startswith(f"mlflow:{unique} base@1.")
    assert report["audit"]["base"]["source"] == "card"
    assert report["banks"][0]["directions"] == 1
