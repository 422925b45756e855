"""Tiny real networks, saved the way people upload them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

# No two sizes are equal, so that a transposed matrix never fits where the right one would.
SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "vocab_size": 56,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def build_net(model_type: str, seed: int = 0, **options: Any) -> nn.Module:
    """A network of that architecture in which every parameter is random, gains and biases too."""
    config = AutoConfig.for_model(model_type, **{**SIZES, **options})
    kind = AutoModelForMaskedLM if model_type == "bert" else AutoModelForCausalLM
    net: nn.Module = kind.from_config(config, attn_implementation="eager").float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return net


def save(net: nn.Module, folder: Path, **options: Any) -> Path:
    """`net` as save_pretrained writes it."""
    net.save_pretrained(folder, **options)
    return folder


@pytest.fixture(scope="session")
def net_of() -> Callable[..., nn.Module]:
    return build_net


@pytest.fixture(scope="session")
def saved() -> Callable[..., Path]:
    return save
