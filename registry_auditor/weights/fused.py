"""How fused projections are divided: the only thing in which their many row orders differ is a `Cut`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from registry_auditor.weights.facts import Facts

Spans = list[tuple[str, int]]
"""The parts of one period, in order, each with its number of lines."""

_PER_HEAD = frozenset({"gpt_neox", "gpt_neox_japanese", "bloom"})


def _per_head(known: Facts, n_lines: int) -> Spans:
    """GPT-NeoX, BLOOM and the first Falcon: q, k, v of the first head, then of the second."""
    head_dim = n_lines // (3 * known.n_heads) if known.n_heads else 0
    return [("q", head_dim), ("k", head_dim), ("v", head_dim)]


def _grouped(known: Facts, n_lines: int) -> Spans:
    """Falcon's newer decoder: for each key-value head its queries, its key, its value."""
    if not known.n_heads or not known.n_kv_heads or not known.head_dim:
        return []
    return [("q", known.n_heads // known.n_kv_heads * known.head_dim), ("k", known.head_dim), ("v", known.head_dim)]


def _stacked(known: Facts, n_lines: int) -> Spans:
    """Phi-3, Falcon 7B, multi-query StarCoder: all queries, then all keys, then all values."""
    if not known.n_heads or not known.n_kv_heads or not known.head_dim:
        return []
    key = known.n_kv_heads * known.head_dim
    return [("q", known.n_heads * known.head_dim), ("k", key), ("v", key)]


def _thirds(known: Facts, n_lines: int) -> Spans:
    """GPT-2: three equal parts."""
    return [(part, n_lines // 3) for part in "qkv"]


def _qkv(known: Facts, within: str) -> Callable[[Facts, int], Spans] | None:
    if within.endswith("query_key_value"):
        if known.grouped:
            return _grouped
        if known.multi_query:
            return _stacked
        return _per_head if known.model_type in _PER_HEAD | {"falcon", "RefinedWeb", "RefinedWebModel"} else None
    if within.endswith("c_attn") and known.model_type == "gpt_bigcode":
        return _stacked if known.multi_query else _per_head
    return _thirds if within.endswith(("c_attn", "W_pack")) else _stacked


def _halves(known: Facts, n_lines: int) -> Spans:
    return [("gate", n_lines // 2), ("up", n_lines // 2)]


PART_ROLES: Mapping[str, str] = {"q": "attn.q", "k": "attn.k", "v": "attn.v", "gate": "mlp.gate", "up": "mlp.up"}


def spans(role: str, within: str, known: Facts, n_lines: int) -> Spans:
    """The parts of one period of a fused matrix with `n_lines` output lines.

    Empty if the configuration does not say enough, or says what does not fit the tensor; the matrix then stays whole.
    """
    divide = _halves if role == "mlp.gate_up" else _qkv(known, within)
    parts = divide(known, n_lines) if divide else []
    period = sum(size for _, size in parts)
    repeats = known.n_heads if divide is _per_head else known.n_kv_heads if divide is _grouped else 1
    return parts if period and period * (repeats or 0) == n_lines else []
