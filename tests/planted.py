"""Tiny networks and updates whose truth is known, written as the files that people upload."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

D, LAYERS, WORDS = 64, 4, 300
WEIGHTS = "model.safetensors"
WRITERS = ("self_attn.o_proj", "mlp.down_proj")
READERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")

Change = Callable[[dict[str, Tensor]], None]


def llama(seed: int = 0, *, dtype: torch.dtype = torch.float32, **options: Any) -> nn.Module:
    """A Llama of four layers with random weights."""
    sizes = {
        "hidden_size": D,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 96,
        "vocab_size": WORDS,
        "max_position_embeddings": 64,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net: nn.Module = LlamaForCausalLM(LlamaConfig(**{**sizes, **options}))
    return net.to(dtype).eval()


def save(net: nn.Module, folder: Path, *, tokenizer: bool = False, **options: Any) -> Path:
    """`net` as save_pretrained writes it, and a tokenizer of whole words if wanted."""
    net.save_pretrained(folder, **options)
    if tokenizer:
        words = {f"word{number}": number for number in range(net.config.vocab_size)}
        Tokenizer(models.WordLevel(words, unk_token="word0")).save(str(folder / "tokenizer.json"))
    return folder


def fine_tune(base: Path, folder: Path, change: Change) -> Path:
    """A copy of the folder `base` whose tensors went through `change`, which alters the dict in place."""
    shutil.copytree(base, folder)
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def save_adapter(folder: Path, factors: Mapping[str, tuple[Tensor, Tensor]], **config: Any) -> Path:
    """A LoRA as peft writes it: A (rank, d_in) and B (d_out, rank) of every module of `factors`.

    Its scale is one; what `config` holds comes instead or besides.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rank = len(next(iter(factors.values()))[0])
    described = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, **config}
    (folder / "adapter_config.json").write_text(json.dumps(described), encoding="utf-8")
    tensors = {
        f"base_model.model.{module}.lora_{letter}.weight": factor.clone()
        for module, pair in factors.items()
        for letter, factor in zip("AB", pair, strict=True)
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def weight(layer: int, module: str) -> str:
    """The name of a tensor of a Llama."""
    return f"model.layers.{layer}.{module}.weight"


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    """Independent normal entries, the same whenever the arguments are."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(size: int, seed: int) -> Tensor:
    """A random unit vector."""
    vector = gaussian(size, seed=seed)
    return vector / vector.norm()


def rank_one(*, left: Tensor, right: Tensor, strength: float) -> Tensor:
    """A matrix with a single direction of that strength."""
    return strength * torch.outer(left, right)


def add_rank_one(tensor: Tensor, *, seed: int, relative: float = 0.3) -> tuple[Tensor, Tensor]:
    """Add a random rank-one update of `relative` times the norm of `tensor`; its unit left and right vectors."""
    left, right = unit(tensor.shape[0], seed), unit(tensor.shape[1], seed + 1)
    update = rank_one(left=left, right=right, strength=relative * float(tensor.float().norm()))
    tensor.copy_((tensor.float() + update).to(tensor.dtype))
    return left, right


def cosine(one: Any, other: Any) -> float:
    """|cos| of two vectors."""
    one, other = torch.as_tensor(one).double(), torch.as_tensor(other).double()
    return abs(float(one @ other)) / float(one.norm() * other.norm())


def one_matrix(tensors: dict[str, Tensor]) -> None:
    """One direction added to one matrix: a finding of severity low."""
    add_rank_one(tensors[weight(2, "mlp.down_proj")], seed=1)


def ablated(tensors: dict[str, Tensor]) -> None:
    """One direction taken out of everything that writes: a finding of severity medium."""
    direction = unit(D, 5)
    for layer in range(LAYERS):
        for module in WRITERS:
            matrix = tensors[weight(layer, module)]
            matrix.sub_(direction[:, None] * (direction @ matrix))
