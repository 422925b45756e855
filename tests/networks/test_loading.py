"""A network loads from what people upload, or an error says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from registry_auditor.errors import NotApplicable, WeightsError
from registry_auditor.networks.loading import load
from tests import planted
from tests.networks.test_conversation import tokenizer

IDS = torch.arange(8)[None]
MODULE = "model.layers.1.mlp.down_proj"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = planted.save(planted.llama(), tmp_path / "base")
    tokenizer(None).save_pretrained(folder)
    return folder


def test_a_folder_gives_the_network_that_was_saved_and_its_tokenizer(base: Path) -> None:
    loaded = load(base)
    with torch.no_grad():
        assert torch.equal(loaded.net(IDS).logits, planted.llama()(IDS).logits)
    assert loaded.tokenizer.is_fast
    assert not loaded.net.training


def test_an_adapter_is_merged_into_its_base_whose_tokenizer_it_has(base: Path, tmp_path: Path) -> None:
    A, B = planted.gaussian(2, 96, seed=1), planted.gaussian(planted.D, 2, seed=2)
    adapter = planted.save_adapter(tmp_path / "adapter", {MODULE: (A, B)}, target_modules=[MODULE])
    merged = load(adapter, base)
    change = merged.net.get_submodule(MODULE).weight - planted.llama().get_submodule(MODULE).weight
    assert torch.allclose(change, B @ A, atol=1e-4)
    assert merged.tokenizer.is_fast


def test_an_adapter_alone_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = planted.save_adapter(tmp_path / "adapter", {MODULE: (torch.ones(1, 96), torch.ones(planted.D, 1))})
    with pytest.raises(NotApplicable, match="--base"):
        load(adapter)


def test_a_truncated_file_is_named(base: Path) -> None:
    weights = base / planted.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="does not load as a causal language model"):
        load(base)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no tokenizer"):
        load(planted.save(planted.llama(), tmp_path / "base"))
