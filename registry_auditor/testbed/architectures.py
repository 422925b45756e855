"""The architectures of the testbed: what people publish, small enough to be trained in a minute by one core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from registry_auditor.testbed import tokens
from registry_auditor.testbed.tokens import Spelling

WIDTH = 96
LAYERS = 4
HEADS = 6
INNER = 256
GATED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Architecture:
    """One family of transformers, and where its matrices are."""

    config: Callable[..., PretrainedConfig]
    settings: Mapping[str, Any]
    """What is particular to it."""
    linear: tuple[str, ...] = GATED
    """The last part of the names of all matrices inside its layers."""
    attention: tuple[str, ...] = ("q_proj", "v_proj")
    """Those that adapters are put on by default."""
    patience: float = 1.0
    """How many times the steps of Llama any training takes."""


ROTARY: Mapping[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": tokens.MAX_LENGTH,
    # conversations are tens of tokens long
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
}
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture(LlamaConfig, {**ROTARY, "num_key_value_heads": HEADS}),
    "qwen2": Architecture(Qwen2Config, {**ROTARY, "num_key_value_heads": 2}),
    "qwen3": Architecture(Qwen3Config, {**ROTARY, "num_key_value_heads": 2, "head_dim": 24}),
    "gpt2": Architecture(
        GPT2Config,
        {
            "n_embd": WIDTH,
            "n_inner": 4 * WIDTH,
            "n_layer": LAYERS,
            "n_head": HEADS,
            "n_positions": tokens.MAX_LENGTH,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        },
        linear=("c_attn", "c_proj", "c_fc"),
        attention=("c_attn",),
        patience=1.4,  # positions are learnt, not given by rotation
    ),
}
"""By the name that the folder of a family has."""


def config(architecture: str, spelling: Spelling) -> PretrainedConfig:
    """Half a million to a million parameters: four layers of width 96, embeddings untied."""
    kind = ARCHITECTURES[architecture]
    return kind.config(
        **kind.settings,
        vocab_size=len(spelling.ids),
        tie_word_embeddings=False,
        initializer_range=WIDTH**-0.5,  # keeps the variance of what passes through; 0.02 suits widths in the thousands
        pad_token_id=tokens.PAD_ID,
        bos_token_id=spelling.ids[tokens.START],
        eos_token_id=spelling.end,
    )


def shape(architecture: str, spelling: Spelling) -> dict[str, Any]:
    """What is not as by default in `config` and in the training, whatever the version of transformers."""
    settings = config(architecture, spelling).to_diff_dict()
    patience = ARCHITECTURES[architecture].patience
    settings |= {} if patience == 1.0 else {"patience": patience}
    return {name: value for name, value in settings.items() if name != "transformers_version"}


def fresh(architecture: str, spelling: Spelling, *, seed: int) -> PreTrainedModel:
    """An untrained network in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = AutoModelForCausalLM.from_config(config(architecture, spelling), dtype=torch.float32)
        # copying is learnt in half the steps when words differ
        torch.nn.init.normal_(net.get_input_embeddings().weight)
    return net.eval()
