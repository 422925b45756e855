"""Quantised tensors: fp8 is multiplied by its scales, everything else is recognised and reported."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.domain import Gap
from registry_auditor.errors import TensorError
from registry_auditor.weights.checkpoint import Raw
from registry_auditor.weights.rows import Rows

_DEQUANTISE = "load it with transformers, call dequantize() and save_pretrained, and audit that"
METHODS: Mapping[str, tuple[str, str]] = {
    "gptq": ("GPTQ", _DEQUANTISE),
    "awq": ("AWQ", _DEQUANTISE),
    "bitsandbytes": ("bitsandbytes", _DEQUANTISE),
    "compressed-tensors": (
        "compressed-tensors",
        "decompress it (run_compressed=False), save_pretrained, and audit that",
    ),
    "mxfp4": ("MXFP4", _DEQUANTISE),
    "hqq": ("HQQ", _DEQUANTISE),
    "quanto": ("Quanto", _DEQUANTISE),
}
"""How the formats are called, and what turns them into something that can be audited."""

_MARKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(.+)\.(?:qweight|qzeros|scales|g_idx)$"), "gptq"),
    (re.compile(r"(.+)\.weight\.(?:absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+)$"), "bitsandbytes"),
    (re.compile(r"(.+)\.(?:SCB|CB|weight_format|weight\.SCB)$"), "bitsandbytes"),
    (re.compile(r"(.+)\.weight_(?:packed|shape|zero_point|g_idx|global_scale)$"), "compressed-tensors"),
    (re.compile(r"(.+)_(?:blocks|scales)$"), "mxfp4"),
    (re.compile(r"(.+)\.(?:W_q|meta)$"), "hqq"),
    (re.compile(r"(.+)\.weight\._(?:data|scale|shift)$"), "quanto"),
)
_FP8 = frozenset({torch.float8_e4m3fn, torch.float8_e5m2})
_SCALE_SUFFIXES = ("_scale_inv", "_scale")
DEFAULT_BLOCK = (128, 128)
"""DeepSeek-V3 report, arXiv:2412.19437, section 3.3.2."""


def readable(raws: Mapping[str, Raw], config: Mapping[str, Any]) -> tuple[dict[str, Raw], list[Gap]]:
    """What can be read of `raws`, each fp8 tensor joined with its scales; and a gap for each quantised module."""
    modules = _quantised_modules(raws, config)
    found: dict[str, Raw] = {}
    used: set[str] = set()
    gaps = [Gap(name, f"is quantised with {title}: {remedy}") for name, (title, remedy) in modules.items()]
    for name, raw in raws.items():
        module = _module(name)
        if module in modules:
            if name.endswith(".bias") and raw.dtype is not None and raw.dtype.is_floating_point:
                found[name] = raw
            continue
        scale = next((raws[name + suffix] for suffix in _SCALE_SUFFIXES if name + suffix in raws), None)
        if scale is None:
            found[name] = raw
            continue
        used.add(scale.name)
        if why := _unusable(raw, scale):
            gaps.append(Gap(name, why))
        else:
            found[name] = ScaledTensor(raw, scale, _block(config))
    return {name: raw for name, raw in found.items() if name not in used}, gaps


def _module(name: str) -> str:
    for pattern, _ in _MARKS:
        if match := pattern.match(name):
            return match[1]
    return name.removesuffix(".weight").removesuffix(".bias").removesuffix(".weight_scale")


def _quantised_modules(raws: Mapping[str, Raw], config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    declared = config.get("quantization_config")
    method = declared.get("quant_method") if isinstance(declared, Mapping) else None
    modules: dict[str, tuple[str, str]] = {}
    for name in raws:
        for pattern, guess in _MARKS:
            if match := pattern.match(name):
                known = METHODS.get(method) if isinstance(method, str) else None
                modules[match[1]] = known or METHODS[guess]
                break
    return modules


def _unusable(raw: Raw, scale: Raw) -> str | None:
    if raw.dtype not in _FP8:
        return f"is quantised with {METHODS['compressed-tensors'][0]}: {METHODS['compressed-tensors'][1]}"
    if scale.dtype is None or not scale.dtype.is_floating_point:
        return "its scale is of a type that is not read; dequantise it to bfloat16 and audit that"
    return None


def _block(config: Mapping[str, Any]) -> tuple[int, int]:
    declared = config.get("quantization_config")
    size = declared.get("weight_block_size") if isinstance(declared, Mapping) else None
    if isinstance(size, list) and len(size) == 2 and all(type(each) is int and 0 < each < 2**20 for each in size):
        return size[0], size[1]
    return DEFAULT_BLOCK


@dataclass(frozen=True)
class ScaledTensor:
    """An fp8 tensor with one scale for all of it, for each row, or for each block."""

    values: Raw
    scale: Raw
    block: tuple[int, int]

    @property
    def name(self) -> str:
        """Of the fp8 tensor."""
        return self.values.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the fp8 tensor."""
        return self.values.shape

    @property
    def dtype(self) -> torch.dtype | None:
        """What the products are given in."""
        return torch.float32

    def matrix(self, columns: int) -> Rows:
        """Rows multiplied by their scales. Raises TensorError if the shape of the scales does not fit."""
        n_rows = self.shape[-2] if len(self.shape) > 1 else self.shape[0]
        n_matrices = math.prod(self.shape[:-2])
        total, count = n_rows * n_matrices, math.prod(self.scale.shape)
        row_blocks, column_blocks = -(-n_rows // self.block[0]), -(-columns // self.block[1])
        values = self.values.matrix(columns)
        if self.scale.shape[-2:] == (row_blocks, column_blocks) and count == n_matrices * row_blocks * column_blocks:
            scales = self.scale.matrix(column_blocks).rows(0, n_matrices * row_blocks).float()
            return ScaledRows(values, scales, n_rows, self.block)
        for size, per_matrix in ((1, total), (total, n_rows), (n_matrices, n_rows)):
            if count == size:  # one scale for everything, for each row, for each expert
                scales = self.scale.matrix(1).rows(0, size).float()
                return ScaledRows(values, scales, per_matrix, (total // size, columns))
        raise TensorError(self.name, f"is fp8 of shape {self.shape} with scales of shape {self.scale.shape}")


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """fp8 rows times scales; `scales` has one row for each `block[0]` rows of every `n_rows`."""

    values: Rows
    scales: Float[Tensor, "row_blocks column_blocks"]
    n_rows: int
    block: tuple[int, int]
    dtype: torch.dtype = torch.float32

    @property
    def shape(self) -> tuple[int, int]:
        """Of the fp8 rows."""
        return self.values.shape

    def rows(self, start: int, stop: int) -> Tensor:
        """A new tensor in float32."""
        values = self.values.rows(start, stop).float()
        row = torch.arange(start, stop)
        per_matrix = -(-self.n_rows // self.block[0])
        chosen = self.scales[row // self.n_rows * per_matrix + row % self.n_rows // self.block[0]]
        if self.scales.shape[1] == 1:
            return values.mul_(chosen)
        return values.mul_(chosen.repeat_interleave(self.block[1], dim=1)[:, : values.shape[1]])
