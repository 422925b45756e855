"""PEFT adapters, read without merging: which update each tensor of an adapter file belongs to."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from registry_auditor.domain import Gap
from registry_auditor.weights.checkpoint import Raw
from registry_auditor.weights.lowrank import LowRank
from registry_auditor.weights.patterns import matching
from registry_auditor.weights.rows import Rows

_TENSOR = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+?)\."
    r"(?P<kind>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(?:\.(?P<adapter>(?!weight$|bias$)[^.]+))?(?:\.(?P<what>weight|bias))?$"
)
_SAVED_MODULE = re.compile(r"\.modules_to_save(?:\.(?!weight$|bias$)[^.]+)?(?=\.)|\.base_layer(?=\.(?:weight|bias)$)")
_METHOD_TENSOR = re.compile(r"(?:^|\.)(?:lora|ia3|hada|lokr|vera|oft|boft|fourierft|prompt|vblora|hra|road|trainable)_")
_METHOD_PART = re.compile(r"\.(?:token_adapter|original_module|adaption_\w+|prompt_encoder)\.")

VARIANTS: Mapping[str, str] = {
    "use_qalora": "QA-LoRA",
    "use_bdlora": "block-diagonal LoRA",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "layer_replication": "layer replication",
}
"""Settings under which the update is no longer scale · B A of one matrix of the base."""
_CHANGED_BASE = ("pissa", "corda", "olora", "loftq", "lora_ga")
"""Initialisations that also change the base, so that the factors alone are not the update."""
_CONVERT = "merge it into its base with PEFT (merge_and_unload, save_pretrained) and audit the merged model"


_LARGEST = 1e9
"""No rank or alpha is larger, and a NaN is not smaller."""


@dataclass(frozen=True)
class Adapter:
    """What an adapter file changes."""

    updates: tuple[LowRank, ...] = ()
    dense: Mapping[str, Raw] = field(default_factory=dict)
    """Tensors that replace those of the base, by the name of the base: `modules_to_save`, trained biases."""
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class _Renamed:
    """A raw tensor under the name that the base uses."""

    raw: Raw
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.raw.shape

    @property
    def dtype(self) -> torch.dtype | None:
        return self.raw.dtype

    def matrix(self, columns: int) -> Rows:
        return self.raw.matrix(columns)


def read_adapter(raws: Mapping[str, Raw], config: Mapping[str, Any]) -> Adapter:
    """Everything in an adapter file, either as an update, as a replacement, or as a gap that says what to do."""
    modules: dict[str, dict[str, Raw]] = {}
    dense: dict[str, Raw] = {}
    gaps: list[Gap] = []
    whole_method = _uncovered_method(config)
    for name, raw in raws.items():
        if match := _TENSOR.match(name):
            kind = match["kind"] + (".bias" if match["what"] == "bias" else "")
            if modules.setdefault(match["module"], {}).setdefault(kind, raw) is not raw:
                gaps.append(Gap(name, f"is of a second adapter in the same file; save each alone: {_CONVERT}"))
        elif _METHOD_TENSOR.search(name) or _METHOD_PART.search(name):
            gaps.append(Gap(name, f"belongs to {whole_method or 'a method that is not read'}; {_CONVERT}"))
        else:
            base_name = _SAVED_MODULE.sub("", name.removeprefix("base_model.model."))
            if dense.setdefault(base_name, renamed := _Renamed(raw, base_name)) is not renamed:
                gaps.append(Gap(name, f"replaces {base_name}, which another tensor of the file replaces; {_CONVERT}"))
    updates: list[LowRank] = []
    for module, parts in modules.items():
        result = _update(module, parts, config)
        if whole_method:
            gaps.append(Gap(f"{module}.weight", f"is changed by {whole_method}; {_CONVERT}"))
        elif isinstance(result, Gap):
            gaps.append(result)
        else:
            updates.append(result)
        if any(kind.endswith(".bias") for kind in parts):
            gaps.append(Gap(f"{module}.bias", f"is changed by a bias of the adapter, which is not read; {_CONVERT}"))
    return Adapter(tuple(updates), dense, tuple(gaps))


def _uncovered_method(config: Mapping[str, Any]) -> str | None:
    method = config.get("peft_type")
    if method != "LORA":
        return f"the PEFT method {str(method)[:40]}, which is not read"
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGED_BASE):
        return f"an adapter initialised with {start[:40]}, which changed the base as well"
    return next((f"{title}, which is not read" for key, title in VARIANTS.items() if config.get(key)), None)


def _update(module: str, parts: Mapping[str, Raw], config: Mapping[str, Any]) -> LowRank | Gap:
    name = f"{module}.weight"
    embedding = "lora_embedding_A" in parts or "lora_embedding_B" in parts
    a, b = (parts.get(f"lora_embedding_{side}" if embedding else f"lora_{side}") for side in "AB")
    magnitude = parts.get("lora_magnitude_vector")
    if a is None or b is None or (embedding and ("lora_A" in parts or "lora_B" in parts)):
        return Gap(name, "has one of the two factors of its update only; download the adapter again")
    if _is_parameter(module, config):
        return Gap(name, f"is changed through target_parameters, which is not read; {_CONVERT}")
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1] or 0 in a.shape + b.shape:
        return Gap(name, f"has factors of shapes {b.shape} and {a.shape}, which cannot be multiplied")
    if not all(raw.dtype is not None and raw.dtype.is_floating_point for raw in (a, b)):
        return Gap(name, "has factors that are no floating-point numbers")
    if embedding and magnitude is not None:
        return Gap(name, f"is an embedding changed by DoRA, which is not read; {_CONVERT}")
    if magnitude is None and config.get("use_dora") is True:
        return Gap(name, "lacks the magnitude that DoRA needs; download the adapter again")
    if magnitude is not None and math.prod(magnitude.shape) != b.shape[0]:
        return Gap(name, f"has a DoRA magnitude of shape {magnitude.shape} for {b.shape[0]} rows")
    scale = _scale(module, a.shape[0], config)
    if isinstance(scale, str):
        return Gap(name, scale)
    note = "applies only after its invocation tokens" if config.get("alora_invocation_tokens") else None
    stored_magnitude = None if magnitude is None else magnitude.matrix(1)
    return LowRank(name, a.matrix(a.shape[1]), b.matrix(b.shape[1]), scale, stored_magnitude, note=note)


def _is_parameter(module: str, config: Mapping[str, Any]) -> bool:
    targets = config.get("target_parameters")
    if not isinstance(targets, list):
        return False
    names = (str(target).rpartition(".") for target in targets)
    parents = {parent for parent, _, parameter in names if parent and parameter != "weight"}
    bare = re.sub(r"(?:\.base_layer)+$", "", module)
    return bare != module or any(bare == parent or bare.endswith(f".{parent}") for parent in parents)


def _scale(module: str, rank: int, config: Mapping[str, Any]) -> float | str:
    """The factor in front of B A, or why there is none."""
    try:
        declared = _setting(module, config, "rank_pattern", "r")
        alpha = _setting(module, config, "alpha_pattern", "lora_alpha")
    except ValueError as error:
        return str(error)
    if declared != rank:
        return f"has rank {rank} in the file and {declared} in adapter_config.json; pass the config of this adapter"
    return alpha / math.sqrt(rank) if config.get("use_rslora") is True else alpha / rank


def _setting(module: str, config: Mapping[str, Any], patterns: str, default: str) -> float:
    table = config.get(patterns)
    key = matching(table, module) if isinstance(table, Mapping) else None
    value = table[key] if isinstance(table, Mapping) and key is not None else config.get(default, 8)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise ValueError(f"has the {default} {_shortened(value)} in adapter_config.json, which is no usable number")
    return float(value)


def _shortened(value: Any) -> str:
    return repr(value)[:40] if isinstance(value, str | float) else type(value).__name__
