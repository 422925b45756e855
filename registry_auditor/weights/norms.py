"""Which norm stands between a matrix and the residual stream."""

from __future__ import annotations

from collections.abc import Mapping

from registry_auditor.domain import Side

_READERS: Mapping[str, tuple[str, ...]] = {
    "attn": ("input_layernorm", "ln_1", "ln_attn", "self_attn_layer_norm", "attention_norm", "ln1"),
    "mlp": (
        "pre_feedforward_layernorm", "ln_mlp", "post_attention_layernorm", "ln_2", "final_layer_norm", "ffn_norm",
        "ln2", "input_layernorm",
    ),
    "ssm": ("norm", "input_layernorm"),
}  # fmt: skip
"""In the order of precedence: an MLP without a norm of its own runs beside the attention and reads what that reads."""
_WRITERS: Mapping[str, tuple[str, ...]] = {
    "attn": ("post_attention_layernorm",),
    "mlp": ("post_feedforward_layernorm",),
}
_SANDWICH = "post_feedforward_layernorm"
"""Gemma 2 and 3 and OLMo 2 normalise what is written; only there is `post_attention_layernorm` such a norm."""


def norm_of(role: str, side: Side | None, norms: Mapping[str, str], *, pre_norm: bool = True) -> str | None:
    """The tensor name of that gain, or None.

    Args:
        role: `attn.q`, `mlp.down`, …
        side: What the matrix does to the stream.
        norms: The gains of this layer: name within the layer -> tensor name.
        pre_norm: False for networks that normalise the stream itself, after each addition (BERT, OPT-350m).
    """
    kind = role.partition(".")[0]
    sandwich = _SANDWICH in norms
    if side is Side.WRITES:
        wanted = _WRITERS.get(kind, ()) if sandwich else ()
    elif side is Side.READS and pre_norm:
        wanted = _READERS.get(kind, ())
        if sandwich:
            wanted = tuple(name for name in wanted if name != "post_attention_layernorm")
    else:
        wanted = ()
    return next((norms[name] for name in wanted if name in norms), None)
