"""Models with the shapes of real ones and known updates, for benchmarks.

The writing matrices of Llama-3.2-1B (16 layers of o_proj 2048 × 2048 and down_proj 2048 × 8192 in bf16; each update is
rank 16 and noise), and a LoRA adapter with the shapes of Llama-2-7B.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

SHAPES = {"self_attn.o_proj": (2048, 2048), "mlp.down_proj": (2048, 8192)}
WEIGHT_STD, NOISE_SHARE, RANK = 0.02, 0.002, 16
"""Each entry of the update is noise of this share of the weights; above it stand RANK directions, 10 to 2 times the
noise edge: gaps of 5 % and more between most neighbours, less between the last ones."""

ADAPTER_SHAPES = {
    **dict.fromkeys(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"), (4096, 4096)),
    **dict.fromkeys(("mlp.gate_proj", "mlp.up_proj"), (11008, 4096)),
    "mlp.down_proj": (4096, 11008),
}
ADAPTER_LAYERS, ADAPTER_RANK = 32, 16


def build_pair(folder: Path, layers: int) -> None:
    """Two model folders, `base` and `tuned`, one shard a layer."""
    generator = torch.Generator().manual_seed(0)
    index: dict[str, str] = {}
    for name in ("base", "tuned"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps({"model_type": "llama"}))
    for layer in range(layers):
        shard = f"model-{layer + 1:05d}-of-{layers:05d}.safetensors"
        base = {_tensor(layer, role): _noise(shape, generator) for role, shape in SHAPES.items()}
        tuned = {name: (weight.float() + _update(weight.shape, generator)).bfloat16() for name, weight in base.items()}
        save_file(base, folder / "base" / shard)
        save_file(tuned, folder / "tuned" / shard)
        index |= dict.fromkeys(base, shard)
    for name in ("base", "tuned"):
        (folder / name / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def _tensor(layer: int, role: str) -> str:
    return f"model.layers.{layer}.{role}.weight"


def _noise(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator).mul_(WEIGHT_STD).bfloat16()


def _update(shape: torch.Size, generator: torch.Generator) -> Tensor:
    m, n = shape
    tau = WEIGHT_STD * NOISE_SHARE
    left, right = (torch.linalg.qr(torch.randn(size, RANK, generator=generator))[0] for size in (m, n))
    strengths = tau * (m**0.5 + n**0.5) * torch.logspace(1.0, 0.3, RANK)
    return torch.randn(m, n, generator=generator).mul_(tau).addmm_(left * strengths, right.T)


def build_adapter(folder: Path) -> None:
    """A LoRA adapter on all linear layers, as PEFT saves it."""
    generator = torch.Generator().manual_seed(1)
    tensors: dict[str, Tensor] = {}
    for layer in range(ADAPTER_LAYERS):
        for role, (m, n) in ADAPTER_SHAPES.items():
            stem = f"base_model.model.model.layers.{layer}.{role}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(ADAPTER_RANK, n, generator=generator) / n**0.5
            tensors[f"{stem}.lora_B.weight"] = torch.randn(m, ADAPTER_RANK, generator=generator) * 1e-3
    config = {"peft_type": "LORA", "r": ADAPTER_RANK, "lora_alpha": 32, "base_model_name_or_path": "llama-2-7b"}
    targets = sorted(role.rpartition(".")[2] for role in ADAPTER_SHAPES)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": targets}))
