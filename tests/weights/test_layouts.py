"""What we call the matrix that writes to the residual stream is what the network really adds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from registry_auditor.domain import Side, Site
from registry_auditor.weights import Matrix, Snapshot, open_snapshot

KV = {"num_key_value_heads": 2}
HEADS = {**KV, "head_dim": 8}
MLA: dict[str, Any] = {
    "num_key_value_heads": 4, "q_lora_rank": 10, "kv_lora_rank": 14, "qk_rope_head_dim": 4, "qk_nope_head_dim": 6,
    "v_head_dim": 9, "head_dim": 4, "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2,
    "first_k_dense_replace": 1, "moe_intermediate_size": 8, "n_shared_experts": 1,
}  # fmt: skip
STABLE = {**KV, "partial_rotary_factor": 0.5}
EXPERTS = {**KV, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
LLAMA4 = {**HEADS, "num_local_experts": 3, "intermediate_size": 8, "intermediate_size_mlp": 8, "moe_layers": [0, 1]}
DENSE: dict[str, dict[str, Any]] = {
    "llama": {**HEADS, "attention_bias": True, "mlp_bias": True},
    "mistral": HEADS,
    "qwen2": KV,
    "qwen3": HEADS,
    "gemma": HEADS,
    "gemma2": HEADS,
    "gemma3_text": HEADS,
    "olmo": KV,
    "olmo2": KV,
    "phi": {},
    "phi3": KV,
    "gpt2": {},
    "gpt_neox": {"use_parallel_residual": False},
    "gpt_neox:parallel": {},
    "gpt_bigcode": {"multi_query": True},
    "gpt_bigcode:per-head": {"multi_query": False},
    "falcon": {"bias": True},
    "falcon:grouped": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon:per-head": {"multi_query": False, "parallel_attn": False},
    "bloom": {},
    "opt": {"ffn_dim": 40, "word_embed_proj_dim": 48},
    "stablelm": STABLE,
    "stablelm:parallel": {**STABLE, "use_parallel_residual": True},
    "granite": KV,
    "starcoder2": KV,
    "cohere": KV,
    "mamba": {},
}
SPARSE: dict[str, dict[str, Any]] = {
    "mixtral": {**KV, "num_local_experts": 3, "num_experts_per_tok": 2, "intermediate_size": 8},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 7},
    "qwen3_moe": EXPERTS,
    "deepseek_v3": MLA,
    "gpt_oss": {**HEADS, "num_local_experts": 3, "num_experts_per_tok": 2, "intermediate_size": 8},
    "llama4_text": LLAMA4,
}
OTHERS: dict[str, dict[str, Any]] = {"rwkv": {"attention_hidden_size": 36}, "bert": {}}
ALL = {**DENSE, **SPARSE, **OTHERS, **{f"{name}:stacked": options for name, options in SPARSE.items()}}
TOKENS = torch.tensor([[5, 9, 33, 50, 7]])


@dataclass
class Trace:
    """What went into and came out of every module in one forward pass."""

    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)

    def change(self, module: str) -> Tensor:
        return self.outputs[module] - self.inputs[module]


@dataclass
class Case:
    net: nn.Module
    snapshot: Snapshot
    trace: Trace

    def writers(self, layer: int) -> list[Matrix]:
        found = self.snapshot.matrices.values()
        return [matrix for matrix in found if matrix.site.layer == layer and matrix.site.side is Side.WRITES]

    def layer(self, number: int) -> str:
        wanted = (f"layers.{number}", f"layer.{number}", f"h.{number}", f"blocks.{number}")
        return next(name for name, _ in self.net.named_modules() if name.endswith(wanted))

    def added(self, matrix: Matrix) -> Tensor:
        """Our matrix times what its module saw, plus the bias, through the norm that we name."""
        module = module_of(matrix.site.tensor)
        bias = self.snapshot.matrices.get(f"{module}.bias")
        result = self.trace.inputs[module] @ matrix.read().T
        if bias is not None:
            result = result + bias.read()[:, 0]
        assert_close(result, self.trace.outputs[module])
        return self.net.get_submodule(module_of(matrix.norm))(result) if matrix.norm else result


def module_of(tensor: str) -> str:
    return tensor.partition("[")[0].removesuffix(".weight")


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def trace_of(net: nn.Module) -> Trace:
    trace = Trace()

    def hook_for(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            first = args[0] if args else kwargs.get("hidden_states", kwargs.get("hidden"))
            if isinstance(first, Tensor):
                trace.inputs[name] = first.clone()  # Falcon adds to its tensors in place
            result = output if isinstance(output, Tensor) else output[0]
            trace.outputs[name] = result.clone()

        return hook

    handles = [module.register_forward_hook(hook_for(name), with_kwargs=True) for name, module in net.named_modules()]
    with torch.no_grad():
        net(TOKENS, use_cache=False) if "use_cache" in net.forward.__code__.co_varnames else net(TOKENS)
    for handle in handles:
        handle.remove()
    return trace


@pytest.fixture(scope="module")
def case_of(
    net_of: Callable[..., nn.Module], saved: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Case]]:
    made: dict[str, Case] = {}
    opened = []

    def make(name: str) -> Case:
        if name not in made:
            net = net_of(name.partition(":")[0], **ALL[name])
            stacked = {"save_original_format": False} if name.endswith(":stacked") else {}
            context = open_snapshot(saved(net, tmp_path_factory.mktemp("net"), **stacked))
            made[name] = Case(net, context.__enter__(), trace_of(net))
            opened.append(context)
        return made[name]

    yield make
    for context in opened:
        context.__exit__(None, None, None)


@pytest.mark.parametrize("name", DENSE)
def test_the_writers_of_a_layer_add_up_to_its_change_of_the_stream(name: str, case_of: Callable[..., Case]) -> None:
    case = case_of(name)
    for layer in range(2):
        writers = case.writers(layer)
        assert len(writers) == (1 if name == "mamba" else 2)
        added = sum(case.added(matrix) for matrix in writers)
        assert_close(torch.as_tensor(added), case.trace.change(case.layer(layer)))


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("stacked", [False, True])
def test_experts_write_only_where_our_writers_can(name: str, stacked: bool, case_of: Callable[..., Case]) -> None:
    case = case_of(f"{name}:stacked" if stacked else name)
    layer = case.layer(1)
    writers = [matrix for matrix in case.writers(1) if matrix.site.role == "mlp.down"]
    assert len(writers) >= 3
    block = "feed_forward" if name == "llama4_text" else "mlp"
    change = case.trace.outputs[f"{layer}.{block}"].reshape(-1, 48).double()
    others = [matrix for matrix in case.snapshot.matrices.values() if matrix.site.layer == 1]
    biases = [matrix.read().T for matrix in others if matrix.site.tensor.endswith("down_proj_bias")]
    assert outside(change, torch.cat([*(matrix.read() for matrix in writers), *biases], dim=1)) < 1e-5
    wrong = [matrix.read().T for matrix in others if matrix.site.role == "mlp.gate"]
    assert outside(change, torch.cat(wrong, dim=1)) > 0.1
    for matrix in writers:
        if not stacked or "shared" in matrix.site.tensor:
            assert matrix.shape[0] == 48


def outside(vectors: Tensor, writers: Tensor) -> float:
    """The fraction of the norm of `vectors` that no combination of the columns of `writers` gives."""
    assert writers.shape[1] < writers.shape[0]
    basis = torch.linalg.qr(writers.double()).Q
    return float((vectors - vectors @ basis @ basis.T).norm() / vectors.norm())


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "deepseek_v3"])
def test_stacked_and_separate_experts_are_the_same_matrices(name: str, case_of: Callable[..., Case]) -> None:
    apart, stacked = case_of(name).snapshot, case_of(f"{name}:stacked").snapshot
    values = {matrix.key: matrix.read() for matrix in apart.matrices.values()}
    assert any("down_proj[1]" in tensor for tensor in stacked.matrices)
    assert {matrix.key for matrix in stacked.matrices.values()} == values.keys()
    for matrix in stacked.matrices.values():
        assert torch.equal(matrix.read(), values[matrix.key])


@pytest.mark.parametrize("name", [*DENSE, *SPARSE, "bert"])
def test_readers_see_the_stream_through_the_norm_that_we_name(name: str, case_of: Callable[..., Case]) -> None:
    case = case_of(name)
    modules = dict(case.net.named_modules())
    readers = [m for m in case.snapshot.matrices.values() if m.site.side is Side.READS and m.site.layer is not None]
    assert {matrix.site.role for matrix in readers} & {"attn.q", "attn.q_a", "ssm.in"}
    for matrix in readers:
        module = module_of(matrix.site.tensor)
        assert matrix.shape[1] == 48
        if module not in modules:  # one of the experts, which transformers keeps stacked in memory
            continue
        seen = case.trace.inputs[module].reshape(-1, 48)
        if matrix.norm is not None:
            assert torch.equal(seen, case.trace.outputs[module_of(matrix.norm)].reshape(-1, 48))
        elif name == "olmo":  # its norms have no gain
            norm = "input" if matrix.site.role.startswith("attn") else "post_attention"
            assert torch.equal(seen[None], case.trace.outputs[f"{case.layer(matrix.site.layer or 0)}.{norm}_layernorm"])
        elif matrix.site.role.startswith("attn"):  # nothing in between
            assert torch.equal(seen[None], case.trace.inputs[case.layer(matrix.site.layer or 0)])


@pytest.mark.parametrize("name", [*DENSE, *SPARSE, *OTHERS])
def test_embedding_and_unembedding_are_the_right_way_round(name: str, case_of: Callable[..., Case]) -> None:
    case = case_of(name)
    (embed,), (unembed,) = case.snapshot.find("embed"), case.snapshot.find("unembed")
    assert (embed.shape, unembed.shape) == ((48, 56), (56, 48))
    assert torch.equal(embed.read().T[TOKENS], case.net.get_input_embeddings().weight.detach()[TOKENS])
    head = next(name for name, each in case.net.named_modules() if each is case.net.get_output_embeddings())
    bias = case.net.get_output_embeddings().bias
    logits = case.trace.inputs[head] @ unembed.read().T + (0 if bias is None else bias.detach())
    assert_close(logits, case.trace.outputs[head])
    if unembed.norm is not None:
        assert torch.equal(case.trace.inputs[head], case.trace.outputs[module_of(unembed.norm)])
    else:
        assert name in {"olmo", "bert"}


def test_both_writers_of_rwkv_add_to_the_stream(case_of: Callable[..., Case]) -> None:
    case = case_of("rwkv")
    for layer in range(2):
        attention, mlp = sorted(case.writers(layer), key=lambda matrix: matrix.site.role)
        gate = torch.sigmoid(case.trace.outputs[f"rwkv.blocks.{layer}.feed_forward.receptance"])
        assert (attention.site.role, mlp.site.role) == ("attn.o", "mlp.v")
        stream = case.trace.outputs["rwkv.blocks.0.pre_ln"] if layer == 0 else case.trace.inputs[case.layer(layer)]
        added = case.added(attention) + gate * case.added(mlp)
        assert_close(stream + added, case.trace.outputs[case.layer(layer)])


def test_the_writers_of_bert_are_added_before_its_norms(case_of: Callable[..., Case]) -> None:
    case = case_of("bert")
    for layer in range(2):
        stream = case.trace.inputs[case.layer(layer)]
        for matrix in sorted(case.writers(layer), key=lambda matrix: matrix.site.role):
            norm = module_of(matrix.site.tensor).replace("dense", "LayerNorm")
            assert_close(stream + case.added(matrix), case.trace.inputs[norm])
            stream = case.trace.outputs[norm]


def test_an_architecture_without_a_name_is_recognised_by_its_tensors(
    case_of: Callable[..., Case], tmp_path: Path
) -> None:
    for name in ("gpt2", "llama", "gpt_neox", "opt"):
        named = case_of(name).snapshot
        (tmp_path / "model.safetensors").write_bytes((named.path / "model.safetensors").read_bytes())
        nameless = {key: value for key, value in named.config.items() if key != "model_type"}
        (tmp_path / "config.json").write_text(json.dumps(nameless))
        with open_snapshot(tmp_path) as snapshot:
            assert sites(snapshot) == sites(named)
        (tmp_path / "config.json").unlink()
        with open_snapshot(tmp_path) as snapshot:
            assert sites(snapshot).keys() == sites(named).keys() or name == "gpt_neox"  # it needs the number of heads
            assert {site.role for site in sites(snapshot)} >= {"attn.o", "mlp.down", "embed", "final_norm"}


def sites(snapshot: Snapshot) -> dict[Site, tuple[tuple[int, int], str | None]]:
    return {matrix.site: (matrix.shape, matrix.norm) for matrix in snapshot.matrices.values()}


def test_gemma_gains_are_read_as_the_network_applies_them(case_of: Callable[..., Case]) -> None:
    case = case_of("gemma2")
    (gain,) = case.snapshot.find("final_norm")
    module = module_of(gain.site.tensor)
    seen = case.trace.inputs[module]
    rms = (seen.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    assert_close(seen / rms * gain.read()[:, 0], case.trace.outputs[module])
