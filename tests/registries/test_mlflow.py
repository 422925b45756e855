"""Versions of a real MLflow server: which one is meant, and what is read of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable, UsageError
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.claims import Claim
from registry_auditor.registries.mlflow import MlflowRegistry
from tests import planted
from tests.planted import WEIGHTS, save_adapter, unit, weight
from tests.registries import mlflow_server
from tests.registries.mlflow_server import folder_with


def test_a_version_is_found_by_number_alias_and_as_the_last_one(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path
) -> None:
    name = f"{unique} with spaces, a.dot and an @"
    for _ in range(2):
        mlflow_server.register(mlflow_url, name, base)
    mlflow_server.client(mlflow_url).set_registered_model_alias(name, "champion", "1")
    first, second = mlflow.resolve(name, "1"), mlflow.resolve(name, "2")
    assert first != second
    assert mlflow.resolve(name) == mlflow.resolve(name, "latest") == second
    assert mlflow.resolve(name, "champion") == first
    assert mlflow.resolve(name, first.revision) == first
    assert ModelRef.parse(str(first)) == first


def test_a_number_that_was_given_again_is_another_revision(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path
) -> None:
    mlflow_server.register(mlflow_url, unique, base)
    before = mlflow.resolve(unique)
    mlflow.verify(before)
    mlflow_server.client(mlflow_url).delete_registered_model(unique)
    with pytest.raises(RegistryError, match="no such"):
        mlflow.verify(before)
    assert mlflow_server.register(mlflow_url, unique, base) == 1
    for ask in (mlflow.verify, mlflow.claim, lambda ref: mlflow.resolve(ref.name, ref.revision)):
        with pytest.raises(RegistryError, match=r"version 1 was registered anew.*resolve"):
            ask(before)
    with pytest.raises(RegistryError, match="registered anew"), mlflow.open(before):
        pass


@pytest.mark.parametrize("revision", [None, "1", "champion", "1." + "0" * 32])
def test_what_the_server_does_not_know_is_said(mlflow: MlflowRegistry, revision: str | None) -> None:
    with pytest.raises(RegistryError, match=r"mlflow:nobody.*no such.*check the name") as caught:
        mlflow.resolve("nobody", revision)
    assert not isinstance(caught.value, RegistryUnavailable)


def test_an_alias_that_is_not_set_and_a_model_without_versions_are_said(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path
) -> None:
    mlflow_server.client(mlflow_url).create_registered_model(unique)
    with pytest.raises(RegistryError, match="no such version"):
        mlflow.resolve(unique)
    mlflow_server.register(mlflow_url, unique, base)
    with pytest.raises(RegistryError, match=r"@champion: this model has no such version or alias"):
        mlflow.resolve(unique, "champion")


def test_weights_are_read_as_they_were_registered(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path, tuned_by: Callable[..., Path]
) -> None:
    tuned = tuned_by(lambda tensors: tensors[weight(1, "mlp.down_proj")].mul_(2))
    mlflow_server.register(mlflow_url, unique, base)
    mlflow_server.register(mlflow_url, unique, tuned)
    with mlflow.open(mlflow.resolve(unique, "1")) as one, mlflow.open(mlflow.resolve(unique, "2")) as two:
        name = weight(1, "mlp.down_proj")
        assert torch.equal(two.matrices[name].read(), one.matrices[name].read() * 2)
        assert (two.path / WEIGHTS).read_bytes() == (tuned / WEIGHTS).read_bytes()
        assert (two.path / "tokenizer.json").is_file()


def test_a_model_that_mlflow_transformers_logged_is_put_together(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    logged = folder_with(tmp_path / "logged", base, "model", manifest="flavors: {}")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        target = logged / "components" / "tokenizer" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((base / name).read_text() if (base / name).exists() else "{}")
    (logged / "model" / "tokenizer.json").unlink()
    mlflow_server.register(mlflow_url, unique, logged)
    with mlflow.open(mlflow.resolve(unique)) as snapshot:
        assert snapshot.matrices
        names = {path.name for path in snapshot.path.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= names


def test_the_adapter_is_audited_and_not_the_base_beside_it(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    factors = {"model.layers.1.self_attn.q_proj": (unit(64, 1)[None], unit(64, 2)[:, None])}
    save_adapter(tmp_path / "logged" / "peft", factors, lora_alpha=2, base_model_name_or_path=str(base))
    logged = folder_with(tmp_path / "logged", base, "model")
    mlflow_server.register(mlflow_url, unique, logged)
    ref = mlflow.resolve(unique)
    with mlflow.open(ref) as snapshot:
        assert snapshot.adapter is not None
        assert not (snapshot.path / WEIGHTS).exists()
    assert mlflow.claim(ref) == Claim(str(base), BaseSource.ADAPTER)


def test_checkpoints_below_the_weights_are_left_alone_and_equals_are_not_chosen_among(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    mlflow_server.register(mlflow_url, unique, folder_with(tmp_path / "trained", base, "", "checkpoint-10"))
    with mlflow.open(mlflow.resolve(unique)) as snapshot:
        assert snapshot.matrices
    mlflow_server.register(mlflow_url, unique, folder_with(tmp_path / "two", base, "one", "other"))
    with pytest.raises(RegistryError, match=r"2 folders hold weights \(one, other\); register one"):
        mlflow.resolve(unique)


def test_weights_in_a_format_that_is_not_read_are_told(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    forest = tmp_path / "forest"
    forest.mkdir()
    (forest / "model.pkl").write_bytes(b"a forest")
    mlflow_server.register(mlflow_url, unique, forest)
    with pytest.raises(RegistryError, match=r"holds no weights that are read; model\.pkl is not read; convert it"):
        mlflow.resolve(unique)
    both = folder_with(tmp_path / "both", base, "", **{"model.onnx": "graph", "optimizer.bin": "state"})
    mlflow_server.register(mlflow_url, unique, both)
    with mlflow.open(mlflow.resolve(unique)) as snapshot:
        assert [gap.tensor for gap in snapshot.gaps] == ["model.onnx"]
        assert (snapshot.path / "model.onnx").stat().st_size == 0


def test_shards_that_are_still_on_their_way_are_waited_for(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path, tmp_path: Path
) -> None:
    whole = planted.save(planted.llama(), tmp_path / "whole", max_shard_size="200KB")
    part = Path(shutil.copytree(whole, tmp_path / "part"))
    last = sorted(part.glob("model-*.safetensors"))[-1]
    last.unlink()
    mlflow_server.register(mlflow_url, unique, part)
    ref = mlflow.resolve(unique)
    with (
        pytest.raises(RegistryUnavailable, match=rf"not arrived as a whole .*{last.name} is missing"),
        mlflow.open(ref),
    ):
        pass
    run = mlflow_server.client(mlflow_url).get_model_version(unique, "1").run_id
    mlflow_server.client(mlflow_url).log_artifact(run, str(whole / last.name), "model")
    with mlflow.open(ref) as snapshot:
        assert not snapshot.gaps


def test_without_the_name_of_a_server_nothing_is_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI"):
        MlflowRegistry(cache=Cache(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000/")
    assert MlflowRegistry(cache=Cache(tmp_path)).spec == "mlflow:http://127.0.0.1:5000"
