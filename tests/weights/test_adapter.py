"""Adapters are read without merging; what we call their update is what PEFT merges."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from registry_auditor.errors import NotApplicable, TensorError, WeightsError
from registry_auditor.weights import Pairing, open_snapshot, pair

LLAMA: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# What the writer of these files, PEFT, remarks on its own dependencies and on embeddings is not the subject here.
pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.filterwarnings("ignore::UserWarning")]


class Trained:
    """A base, an adapter whose factors are random, and the same adapter merged by PEFT."""

    def __init__(self, folder: Path, net: nn.Module, config: peft.PeftConfig, **options: Any) -> None:
        self.base, self.adapter, self.merged = folder / "base", folder / "adapter", folder / "merged"
        net.save_pretrained(self.base)
        adapted = peft.get_peft_model(net, config)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if any(mark in name for mark in ("lora_", "modules_to_save")):
                    parameter.normal_(0.0, 0.2, generator=generator)
        adapted.save_pretrained(self.adapter, **options)
        adapted.merge_and_unload().save_pretrained(self.merged)

    def edit(self, **settings: Any) -> None:
        path = self.adapter / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    @contextmanager
    def paired(self) -> Iterator[Pairing]:
        with open_snapshot(self.adapter) as tuned, open_snapshot(self.base) as base:
            yield pair(tuned, base)

    def merged_updates(self) -> dict[str, Tensor]:
        with open_snapshot(self.merged) as tuned, open_snapshot(self.base) as base:
            deltas = {delta.site.tensor: delta.delta for delta in pair(tuned, base).deltas}
        return {name: delta for name, delta in deltas.items() if float(delta.abs().max()) > 0}


@pytest.fixture
def trained(tmp_path: Path, net_of: Callable[..., nn.Module]) -> Callable[..., Trained]:
    def make(config: peft.PeftConfig, model_type: str = "llama", **options: Any) -> Trained:
        saving = {"safe_serialization": options.pop("safe_serialization", True)}
        return Trained(tmp_path, net_of(model_type, **(options or LLAMA)), config, **saving)

    return make


CASES: dict[str, tuple[peft.LoraConfig, str, dict[str, Any]]] = {
    "plain": (peft.LoraConfig(r=3, lora_alpha=7, target_modules=LINEARS), "llama", {}),
    "rank-stabilised": (peft.LoraConfig(r=3, lora_alpha=7, use_rslora=True, target_modules=LINEARS), "llama", {}),
    "patterns": (
        peft.LoraConfig(
            r=3,
            target_modules=LINEARS,
            rank_pattern={"down_proj": 5, r"layers\.1\.self_attn\.(q|k)_proj": 2},
            alpha_pattern={"0.self_attn.o_proj": 30, r".*\.v_proj": 11},
        ),
        "llama",
        {},
    ),
    "conv1d": (peft.LoraConfig(r=3, fan_in_fan_out=True, target_modules=["c_attn", "c_proj", "c_fc"]), "gpt2", {}),
    "fused per head": (peft.LoraConfig(r=3, target_modules=["query_key_value", "dense"]), "gpt_neox", {}),
    "fused and stacked": (
        peft.LoraConfig(r=3, target_modules=["qkv_proj", "gate_up_proj"]),
        "phi3",
        {"num_key_value_heads": 2},
    ),
    "embedding": (peft.LoraConfig(r=3, target_modules=["embed_tokens", "q_proj"]), "llama", {}),
    "dora": (peft.LoraConfig(r=3, use_dora=True, target_modules=LINEARS), "llama", {}),
    "dora on conv1d": (
        peft.LoraConfig(r=3, use_dora=True, fan_in_fan_out=True, target_modules=["c_attn", "c_proj"]),
        "gpt2",
        {},
    ),
    "modules to save": (
        peft.LoraConfig(r=3, target_modules=["q_proj"], modules_to_save=["lm_head", "input_layernorm"]),
        "llama",
        {},
    ),
    "router": (
        peft.LoraConfig(r=3, target_modules=["gate", "q_proj"]),
        "mixtral",
        {"num_key_value_heads": 2, "num_local_experts": 3, "intermediate_size": 8},
    ),
    "biases": (peft.LoraConfig(r=3, target_modules=["q_proj"], bias="lora_only"), "qwen2", {"num_key_value_heads": 2}),
    "pickled": (peft.LoraConfig(r=3, target_modules=["q_proj"]), "llama", {**LLAMA, "safe_serialization": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_update_of_an_adapter_is_what_peft_merges(case: str, trained: Callable[..., Trained]) -> None:
    config, model_type, options = CASES[case]
    pair_of = trained(config, model_type, **options)
    expected = pair_of.merged_updates()
    with pair_of.paired() as found:
        assert not found.gaps
        ours = {delta.site.tensor: delta for delta in found.deltas if not delta.identical}
        assert ours.keys() == expected.keys()
        assert found.n_untouched > 0
        for name, delta in ours.items():
            assert delta.shape == tuple(expected[name].shape)
            torch.testing.assert_close(delta.delta, expected[name], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(delta.tuned - delta.base, expected[name], rtol=1e-4, atol=1e-5)


def test_a_plain_adapter_yields_factors_with_the_scale_folded_in(trained: Callable[..., Trained]) -> None:
    pair_of = trained(peft.LoraConfig(r=3, lora_alpha=12, target_modules=["o_proj"]))
    with pair_of.paired() as found:
        for delta in found.deltas:
            assert delta.factors is not None
            b, a = delta.factors
            assert (b.shape, a.shape) == ((48, 3), (3, 32))
            assert delta.site.role == "attn.o"
            torch.testing.assert_close(b @ a, delta.delta)


def test_an_adapter_alone_still_has_its_update_and_says_what_needs_the_base(trained: Callable[..., Trained]) -> None:
    pair_of = trained(peft.LoraConfig(r=3, target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"]))
    expected = pair_of.merged_updates()
    with open_snapshot(pair_of.adapter) as tuned:
        found = pair(tuned, None)
        assert [str(delta.site) for delta in found.deltas[:2]] == ["layer 0 attn.q", "layer 0 attn.v"]
        assert [gap.tensor for gap in found.gaps] == ["lm_head.weight"]
        for delta in found.deltas:
            assert not delta.has_base
            torch.testing.assert_close(delta.delta, expected[delta.site.tensor], rtol=1e-4, atol=1e-5)
            with pytest.raises(NotApplicable, match="--base"):
                _ = delta.base


def test_dora_without_its_base_is_reported(trained: Callable[..., Trained]) -> None:
    pair_of = trained(peft.LoraConfig(r=3, use_dora=True, target_modules=["q_proj"]))
    with open_snapshot(pair_of.adapter) as tuned:
        found = pair(tuned, None)
        assert not found.deltas
        assert all("DoRA" in gap.why and "--base" in gap.why for gap in found.gaps)
        assert len(found.gaps) == 2


def test_a_replaced_unembedding_of_a_tied_base_is_compared_with_its_embedding(
    tmp_path: Path, net_of: Callable[..., nn.Module]
) -> None:
    net = net_of("llama", **LLAMA, tie_word_embeddings=True)
    config = peft.LoraConfig(r=3, target_modules=["q_proj"], modules_to_save=["lm_head"])
    pair_of = Trained(tmp_path, net, config)
    with pair_of.paired() as found:
        (head,) = (delta for delta in found.deltas if delta.site.role == "unembed")
        assert (head.site.tensor, head.shape) == ("lm_head.weight", (56, 48))
        assert not head.identical


def test_an_updated_unembedding_of_a_tied_base_starts_from_its_embedding(
    tmp_path: Path, net_of: Callable[..., nn.Module]
) -> None:
    net = net_of("llama", **LLAMA, tie_word_embeddings=True)
    pair_of = Trained(tmp_path, net, peft.LoraConfig(r=3, target_modules=["lm_head"]))
    with pair_of.paired() as found:
        (head,) = (delta for delta in found.deltas if delta.factors is not None)
        assert (head.site.tensor, head.site.role, head.shape) == ("lm_head.weight", "unembed", (56, 48))
        assert head.norm == "model.norm.weight"
        torch.testing.assert_close(head.tuned - head.base, head.delta, rtol=1e-4, atol=1e-5)


def test_an_embedding_that_travels_with_the_adapter_is_compared_too(trained: Callable[..., Trained]) -> None:
    pair_of = trained(peft.LoraConfig(r=3, target_modules=["embed_tokens"]))
    path = pair_of.adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors["base_model.model.model.embed_tokens.base_layer.weight"][7] += 1.0
    save_file(tensors, path)
    (expected,) = pair_of.merged_updates().values()
    expected[:, 7] += 1.0
    with pair_of.paired() as found:
        (delta,) = found.deltas
        torch.testing.assert_close(delta.delta, expected, rtol=1e-4, atol=1e-5)


def test_an_untrained_adapter_is_identical_to_its_base(trained: Callable[..., Trained]) -> None:
    pair_of = trained(peft.LoraConfig(r=3, target_modules=["q_proj"]))
    path = pair_of.adapter / "adapter_model.safetensors"
    save_file({name: value * ("lora_A" in name) for name, value in load_file(path).items()}, path)
    with pair_of.paired() as found:
        assert all(delta.identical for delta in found.deltas)


UNCOVERED: dict[str, tuple[peft.PeftConfig, str, int]] = {
    "ia3": (peft.IA3Config(target_modules=["q_proj"], feedforward_modules=[]), "IA3", 2),
    "loha": (peft.LoHaConfig(target_modules=["q_proj"]), "LOHA", 8),
    "vera": (peft.VeraConfig(target_modules=["q_proj"], r=4), "VERA", 6),
    "adalora": (peft.AdaLoraConfig(target_modules=["q_proj"], total_step=9), "ADALORA", 4),
    "prompt tuning": (peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"), "PROMPT_TUNING", 1),
    "trained tokens": (
        peft.LoraConfig(target_modules=["q_proj"], trainable_token_indices=[1, 2]), "a method that is not read", 1
    ),
    "bias": (peft.LoraConfig(target_modules=["q_proj"], lora_bias=True), "a bias of the adapter", 2),
}  # fmt: skip


@pytest.mark.parametrize("method", UNCOVERED)
def test_other_methods_are_reported_and_never_skipped(
    method: str, tmp_path: Path, net_of: Callable[..., nn.Module]
) -> None:
    config, title, n_gaps = UNCOVERED[method]
    net = net_of("llama", **LLAMA)
    net.save_pretrained(tmp_path / "base")
    peft.get_peft_model(net, config).save_pretrained(tmp_path / "adapter")
    with open_snapshot(tmp_path / "adapter") as tuned, open_snapshot(tmp_path / "base") as base:
        found = pair(tuned, base)
        assert len(found.gaps) == n_gaps
        assert all(title in gap.why and "merge" in gap.why for gap in found.gaps)


def test_adapters_on_stacked_experts_are_reported(trained: Callable[..., Trained]) -> None:
    options = {"num_key_value_heads": 2, "num_experts": 3, "moe_intermediate_size": 8}
    config = peft.LoraConfig(target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"])
    pair_of = trained(config, "qwen3_moe", **options)
    with pair_of.paired() as found:
        assert [delta.site.role for delta in found.deltas] == ["attn.q", "attn.q"]
        assert len(found.gaps) == 2
        assert all("target_parameters" in gap.why for gap in found.gaps)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"layer_replication": [[0, 2]]}, "layer replication"),
        ({"use_qalora": True}, "QA-LoRA"),
        ({"r": 4}, "rank 3 in the file and 4"),
        ({"lora_alpha": "many"}, "no usable number"),
        ({"lora_alpha": 10**400}, "no usable number"),
        ({"lora_alpha": float("nan")}, "no usable number"),
        ({"use_dora": True}, "lacks the magnitude"),
        ({"rank_pattern": {"(a+)+b": 4}}, "too intricate"),
        ({"rank_pattern": {"(unclosed": 4}}, "no regular expression"),
    ],
)
def test_settings_that_change_the_meaning_of_the_factors_are_reported(
    setting: dict[str, Any], message: str, trained: Callable[..., Trained]
) -> None:
    pair_of = trained(peft.LoraConfig(r=3, target_modules=["q_proj"]))
    pair_of.edit(**setting)
    with pair_of.paired() as found:
        assert not found.deltas
        assert len(found.gaps) == 2
        assert all(message in gap.why for gap in found.gaps)


def test_a_pattern_made_to_hang_the_reader_does_not(trained: Callable[..., Trained]) -> None:
    pair_of = trained(peft.LoraConfig(r=3, target_modules=["q_proj"]))
    patterns = ["(.*.*)*x", "a?" * 60 + "a" * 60, ".*.*.*.*.*.*x", "((((.*)*)*)*)*x"]
    for pattern in patterns:
        pair_of.edit(rank_pattern={pattern: 4})
        start = time.monotonic()
        with pair_of.paired() as found:
            assert len(found.gaps) == 2
        assert time.monotonic() - start < 2


def test_half_an_update_and_non_finite_factors_are_errors(trained: Callable[..., Trained]) -> None:
    pair_of = trained(peft.LoraConfig(r=3, target_modules=["q_proj"]))
    path = pair_of.adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    names = sorted(tensors)
    del tensors[names[0]]
    tensors[names[2]][0, 0] = float("nan")
    save_file(tensors, path)
    with pair_of.paired() as found:
        assert ["one of the two factors" in gap.why for gap in found.gaps] == [True]
        with pytest.raises(TensorError, match="NaN or infinite"):
            _ = found.deltas[0].factors


def test_an_adapter_of_another_base_says_so(
    trained: Callable[..., Trained], tmp_path: Path, net_of: Callable[..., nn.Module]
) -> None:
    pair_of = trained(peft.LoraConfig(r=3, target_modules=["q_proj"]))
    net_of("llama", **{**LLAMA, "hidden_size": 64}).save_pretrained(tmp_path / "other")
    with open_snapshot(pair_of.adapter) as tuned, open_snapshot(tmp_path / "other") as base:
        assert "base is (32, 64), the adapter is (32, 48); pass the right base" in pair(tuned, base).gaps[0].why
        with pytest.raises(WeightsError, match="is an adapter and cannot be a base"):
            pair(base, tuned)
