"""What a config.json says about the layout of the tensors, checked, since anybody may have written it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

MAX_SIZE = 2**24
"""No width, vocabulary or number of heads is larger; what claims to be is ignored."""

CONV1D_TYPES = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
"""Architectures whose linear layers are stored as (d_in, d_out)."""
TRANSPOSED_EXPERT_TYPES = frozenset({"gpt_oss", "llama4", "llama4_text"})
"""Architectures whose stacked experts are stored as (expert, d_in, d_out)."""
INTERLEAVED_EXPERT_TYPES = frozenset({"gpt_oss"})
"""Architectures whose gate and up rows alternate."""
ONE_PLUS_GAIN_TYPES = frozenset({
    "gemma", "gemma2", "gemma3", "gemma3_text", "recurrent_gemma", "vaultgemma", "t5gemma", "t5gemma2",
    "qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text",
})  # fmt: skip
"""Architectures whose norms multiply by 1 + the stored gain."""
TIED_BY_DEFAULT_TYPES = frozenset({
    "bert", "bloom", "cohere", "cohere2", "falcon", "gemma", "gemma2", "gemma3", "gemma3_text", "gpt2",
    "gpt_bigcode", "mamba", "opt", "recurrent_gemma", "roberta", "smollm3", "starcoder2",
})  # fmt: skip
"""Architectures whose config.json need not mention that the embeddings are tied."""


@dataclass(frozen=True)
class Facts:
    """The part of a configuration that decides how tensors are to be read; None where it does not say."""

    model_type: str = ""
    d_model: int | None = None
    n_layers: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    head_dim: int | None = None
    multi_query: bool = False
    grouped: bool = False
    """Falcon's newer decoder: the query heads of a group lie beside their key and value."""
    tied: bool | None = None
    encoder_decoder: bool = False
    pre_norm: bool = True

    @property
    def conv1d(self) -> bool:
        """Whether linear layers are stored as (d_in, d_out)."""
        return self.model_type in CONV1D_TYPES


_TELLING_NAMES: tuple[tuple[re.Pattern[str], int, str], ...] = (
    (re.compile(r"(?:^|\.)gpt_neox\..*query_key_value\.weight$"), 0, "gpt_neox"),
    (re.compile(r"(?:^|\.)h\.\d+\.attn\.c_attn\.weight$"), 1, "gpt2"),
)
"""Names that only one architecture uses, and along which axis its fused projection is three times as long."""


def completed(known: Facts, shapes: Mapping[str, tuple[int, ...]]) -> Facts:
    """`known` with the architecture that the tensors give away, if the configuration does not name one."""
    if known.model_type:
        return known
    for name, shape in shapes.items():
        for pattern, axis, model_type in _TELLING_NAMES:
            if pattern.search(name) and len(shape) == 2 and shape[axis] == 3 * shape[1 - axis]:
                return replace(known, model_type=model_type)
    return known


def facts(config: Mapping[str, Any]) -> Facts:
    """What `config` says; of a model of several parts, what it says about the language model."""
    inner = config.get("text_config")
    text = {**config, **inner} if isinstance(inner, Mapping) else config
    model_type = text.get("model_type")
    model_type = model_type if isinstance(model_type, str) else ""
    d_model = _size(text, "hidden_size", "n_embd", "d_model")
    n_heads = _size(text, "num_attention_heads", "n_head", "num_heads")
    multi_query = text.get("multi_query") is True
    grouped = text.get("new_decoder_architecture") is True
    n_kv_heads = _size(text, "num_key_value_heads", "num_kv_heads", "n_head_kv") or n_heads
    return Facts(
        model_type=model_type,
        d_model=d_model,
        n_layers=_size(text, "num_hidden_layers", "n_layer", "num_layers"),
        n_heads=n_heads,
        n_kv_heads=1 if multi_query and not grouped else n_kv_heads,
        head_dim=_size(text, "head_dim") or (d_model // n_heads if d_model and n_heads else None),
        multi_query=multi_query,
        grouped=grouped,
        tied=_tied(config, text, model_type),
        encoder_decoder=config.get("is_encoder_decoder") is True,
        pre_norm=text.get("do_layer_norm_before") is not False,
    )


def _tied(config: Mapping[str, Any], text: Mapping[str, Any], model_type: str) -> bool | None:
    for level in (config, text):  # the outermost word is the one that transformers obeys
        if isinstance(level.get("tie_word_embeddings"), bool):
            return bool(level["tie_word_embeddings"])
    return True if model_type in TIED_BY_DEFAULT_TYPES else None


def _size(config: Mapping[str, Any], *keys: str) -> int | None:
    values = (config.get(key) for key in keys)
    return next((value for value in values if type(value) is int and 0 < value <= MAX_SIZE), None)
