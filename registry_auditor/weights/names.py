"""Tensor names: which matrix of a network a name stands for. A table; the first rule that fits wins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry_auditor.domain import Side
from registry_auditor.weights.facts import Facts

READS, WRITES = Side.READS, Side.WRITES

_PREFIXES = re.compile(
    r"^(?:(?:_orig_mod|module|base_model|model|transformer|gpt_neox|backbone|rwkv|bert|roberta|distilbert"
    r"|language_model|text_model|decoder)\.)+"
)
_LAYER = re.compile(r"^(?:encoder\.)?(?:layers|layer|blocks|h|block)\.(\d{1,5})\.(.+)$")
_FOREIGN = re.compile(r"(?:^|\.)(?:vision\w*|visual|audio\w*|image\w*|\w*projector|mtp)\.")
_ATTN = r"(?:self_attn|self_attention|attention|attn)"
_EXPERT = r"(?:mlp|feed_forward|moe)\.experts\."
_MLP = r"(?:mlp|feed_forward|(?:mlp|feed_forward)\.shared_experts?|ffn)\."

BUFFERS = re.compile(
    r"(?:rotary_emb\.|rotary\.)?inv_freq$|\.masked_bias$|(?:^|\.)position_ids$|(?:^|\.)token_type_ids$"
    r"|num_batches_tracked$|\.rotary_emb\.(?:cos|sin)_cached$|\.(?:input|activation|k|v|output)_scale$|\.attn_mask$"
)
"""What is saved with a network and is no weight: recomputed on loading, or a mask."""
_MASKS = re.compile(r"\.(?:attn|attention)\.bias$")

Rule = tuple[str, str, Side | None]

LAYER_RULES: tuple[Rule, ...] = (
    (_EXPERT + r"(?P<expert>\d+)\.(?:gate_proj|w1)", "mlp.gate", READS),
    (_EXPERT + r"(?P<expert>\d+)\.(?:up_proj|w3)", "mlp.up", READS),
    (_EXPERT + r"(?P<expert>\d+)\.(?:down_proj|w2)", "mlp.down", WRITES),
    (_EXPERT + r"gate_up_proj|mlp\.input_linear", "mlp.gate_up", READS),
    (_EXPERT + r"down_proj|mlp\.output_linear", "mlp.down", WRITES),
    (r"(?:mlp|feed_forward)\.(?:gate|router|router\.layer|shared_expert_gate)", "mlp.router", READS),
    (_ATTN + r"\.(?:qkv_proj|query_key_value|c_attn|W_pack|Wqkv)", "attn.qkv", READS),
    (r"attention\.output\.dense", "attn.o", WRITES),
    (_ATTN + r"(?:\.self)?\.(?:q_proj|query|q_lin|wq)", "attn.q", READS),
    (_ATTN + r"(?:\.self)?\.(?:k_proj|key|k_lin|wk)", "attn.k", READS),
    (_ATTN + r"(?:\.self)?\.(?:v_proj|value|v_lin|wv)", "attn.v", READS),
    (_ATTN + r"\.(?:o_proj|out_proj|dense|c_proj|out_lin|wo|output)", "attn.o", WRITES),
    (r"attention\.receptance", "attn.r", READS),
    (r"self_attn\.q_a_proj", "attn.q_a", READS),
    (r"self_attn\.q_b_proj", "attn.q_b", None),
    (r"self_attn\.kv_a_proj_with_mqa", "attn.kv_a", READS),
    (r"self_attn\.kv_b_proj", "attn.kv_b", None),
    (r"feed_forward\.receptance", "mlp.r", READS),
    (r"feed_forward\.key", "mlp.k", READS),
    (r"feed_forward\.value", "mlp.v", WRITES),
    (_MLP + r"gate_up_proj", "mlp.gate_up", READS),
    (_MLP + r"(?:gate_proj|w1)", "mlp.gate", READS),
    (_MLP + r"(?:up_proj|w3|dense_h_to_4h|fc1|c_fc|fc_in|lin1)|fc1|intermediate\.dense", "mlp.up", READS),
    (_MLP + r"(?:down_proj|w2|dense_4h_to_h|fc2|c_proj|fc_out|lin2)|fc2|output\.dense", "mlp.down", WRITES),
    (r"mixer\.in_proj", "ssm.in", READS),
    (r"mixer\.out_proj", "ssm.out", WRITES),
)
TOP_RULES: tuple[Rule, ...] = (
    (r"(?:embeddings\.)?(?:embed_tokens|wte|embed_in|word_embeddings|embeddings|tok_embeddings)", "embed", WRITES),
    (r"(?:embeddings\.)?(?:embed_positions|wpe|position_embeddings)", "position", WRITES),
    (r"embeddings\.token_type_embeddings", "segment", WRITES),
    (r"lm_head|embed_out|output|head|cls\.predictions\.decoder", "unembed", READS),
    (r"norm|ln_f|norm_f|final_layernorm|final_layer_norm|ln_out", "final_norm", None),
)
_NORM = re.compile(
    r"(?:^|[._])(?:layer_?norms?|norms?|ln|ln_\w+|ln\d|\w+norm|LayerNorm)(?:\.norms\.\d+)?$", re.IGNORECASE
)


@dataclass(frozen=True)
class Place:
    """What a tensor name stands for."""

    key: str
    """The name without wrappers, equal for the same tensor of a network saved with and without its head."""
    role: str = "other"
    side: Side | None = None
    layer: int | None = None
    expert: int | None = None
    within: str = ""
    """What follows the number of the layer, without `.weight`."""


def _compiled(rules: tuple[Rule, ...]) -> tuple[tuple[re.Pattern[str], str, Side | None], ...]:
    return tuple((re.compile(rf"(?:{pattern})$"), role, side) for pattern, role, side in rules)


_LAYER_TABLE, _TOP_TABLE = _compiled(LAYER_RULES), _compiled(TOP_RULES)


def is_buffer(name: str, shape: tuple[int, ...]) -> bool:
    """Whether this is no weight: a mask, positions, frequencies, a scale of activations."""
    return bool(BUFFERS.search(name)) or (len(shape) == 4 and bool(_MASKS.search(name)))


def locate(name: str, facts: Facts) -> Place:
    """What the tensor `name` of a network described by `facts` stands for; role `other` if nobody knows."""
    key = _PREFIXES.sub("", name).replace("LayerNorm.gamma", "LayerNorm.weight")
    key = key.replace("LayerNorm.beta", "LayerNorm.bias").replace(".block_sparse_moe.", ".mlp.")
    if _FOREIGN.search(name) or facts.encoder_decoder:
        return Place(name)
    in_layer = _LAYER.match(key)
    layer = int(in_layer[1]) if in_layer else None
    if layer is not None and facts.n_layers is not None and layer >= facts.n_layers:
        return Place(key)  # DeepSeek keeps further predictors behind the last layer; they are not in the stream
    within = (in_layer[2] if in_layer else key).removesuffix(".weight")
    if within.endswith(("bias", ".bias")):
        return Place(key, "bias", None, layer, None, within)
    for pattern, role, side in _LAYER_TABLE if in_layer else _TOP_TABLE:
        if match := pattern.match(within):
            number = match.groupdict().get("expert")
            return Place(key, role, side, layer, int(number) if number else None, within)
    role = "norm" if _NORM.search(within) else "other"
    return Place(key, role, None, layer, None, within)
