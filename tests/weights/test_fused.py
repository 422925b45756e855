"""Fused projections are divided as the networks divide them, whatever their row order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from registry_auditor.weights import Matrix, open_snapshot
from registry_auditor.weights.rows import CutRows

BY_INTERFACE: dict[str, dict[str, Any]] = {
    "phi3": {"num_key_value_heads": 2},
    "gpt2": {},
    "gpt_neox": {},
    "gpt_bigcode": {"multi_query": True},
    "gpt_bigcode:per-head": {"multi_query": False},
}
BY_METHOD: dict[str, dict[str, Any]] = {
    "falcon": {"bias": True},
    "falcon:grouped": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon:per-head": {"multi_query": False, "parallel_attn": False},
    "bloom": {},
}


@pytest.fixture
def opened(net_of: Callable[..., nn.Module], saved: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    @contextmanager
    def make(name: str, **options: Any) -> Iterator[tuple[nn.Module, list[Matrix]]]:
        net = net_of(name.partition(":")[0], **options)
        with open_snapshot(saved(net, tmp_path)) as snapshot:
            yield net, [matrix for matrix in snapshot.matrices.values() if isinstance(matrix.stored, CutRows)]

    return make


def module_of(part: Matrix) -> str:
    return part.site.tensor.partition(".weight[")[0]


def applied(part: Matrix, seen: Tensor, bias: Tensor | None) -> Tensor:
    """Our part times what the fused module saw, plus the share of its bias that the same cut selects."""
    stored = part.stored
    assert isinstance(stored, CutRows)
    return seen @ part.read().T + (0 if bias is None else stored.cut.take(bias.detach()[:, None], axis=0)[:, 0])


def probe(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Attention that keeps what it was given; at position 0 no rotation has happened to it."""
    module.seen = {"attn.q": query, "attn.k": key, "attn.v": value}
    return torch.zeros(query.shape[0], query.shape[2], query.shape[1], query.shape[3]), None


@pytest.mark.parametrize("name", BY_INTERFACE)
def test_queries_keys_and_values_are_what_the_attention_is_given(name: str, opened: Callable[..., Any]) -> None:
    AttentionInterface.register("probe", probe)
    with opened(name, **BY_INTERFACE[name]) as (net, parts):
        parts = [part for part in parts if part.site.role.startswith("attn.")]
        inputs: dict[str, Tensor] = {}
        for part in parts:
            module = module_of(part)
            net.get_submodule(module).register_forward_pre_hook(
                lambda _, args, module=module: inputs.update({module: args[0]})
            )
        net.set_attn_implementation("probe")
        with torch.no_grad():
            net(torch.tensor([[5, 9, 33]]), use_cache=False)
        assert len(parts) == 6
        for part in parts:
            fused = net.get_submodule(module_of(part))
            attention = net.get_submodule(module_of(part).rpartition(".")[0])
            ours = applied(part, inputs[module_of(part)][0, 0], fused.bias)
            theirs = attention.seen[part.site.role][0, :, 0].reshape(-1)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BY_METHOD)
def test_the_row_orders_of_falcon_and_bloom_are_theirs(name: str, opened: Callable[..., Any]) -> None:
    stream = torch.randn(1, 1, 48)
    with opened(name, **BY_METHOD[name]) as (net, parts):
        assert len(parts) == 6
        for part in parts:
            fused = net.get_submodule(module_of(part))
            attention = net.get_submodule(module_of(part).rpartition(".")[0])
            with torch.no_grad():
                if name == "bloom":
                    divided = [each.transpose(1, 2) for each in attention._reshape(fused(stream))]
                else:
                    divided = attention._split_heads(fused(stream))
            theirs = dict(zip(("attn.q", "attn.k", "attn.v"), divided, strict=True))[part.site.role][0, 0]
            if name == "falcon:grouped":  # it repeats each key and value for the queries of its group
                theirs = theirs.unique_consecutive(dim=0)
            ours = applied(part, stream[0, 0], fused.bias)
            torch.testing.assert_close(ours, theirs.reshape(-1), rtol=1e-4, atol=1e-5)


def test_gate_and_up_of_phi3_are_not_exchanged(opened: Callable[..., Any]) -> None:
    stream = torch.randn(3, 48)
    with opened("phi3", num_key_value_heads=2) as (net, parts):
        halves = {part.site.role: stream @ part.read().T for part in parts if part.site.layer == 1}
        mlp = net.get_submodule("model.layers.1.mlp")
        with torch.no_grad():
            expected = mlp(stream)
            ours = mlp.down_proj(nn.functional.silu(halves["mlp.gate"]) * halves["mlp.up"])
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
