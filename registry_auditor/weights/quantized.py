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
    "gptq": ("GPTQ or AWQ", _DEQUANTISE),
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

_MARKS: tuple[tuple[str, re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (method, re.compile(rf"(.+){mark}$"), re.compile(rf"(.+){parts}$"))
    for method, mark, parts in (
        ("gptq", r"\.qweight", r"\.(?:qweight|qzeros|scales|g_idx)"),
        (
            "bitsandbytes",
            r"\.weight\.(?:absmax|quant_state\..+)",
            r"\.weight(?:\.(?:\w*absmax|\w*quant_map|quant_state\..+))?",
        ),
        ("bitsandbytes", r"\.(?:weight\.)?SCB", r"\.(?:weight\.)?(?:SCB|CB|weight|weight_format)"),
        ("compressed-tensors", r"\.weight_packed", r"\.weight_(?:packed|scale|shape|zero_point|g_idx|global_scale)"),
        ("mxfp4", r"_blocks", r"_(?:blocks|scales)"),
        ("hqq", r"\.W_q", r"\.(?:W_q|meta)"),
        ("quanto", r"\.weight\._data", r"\.weight\._(?:data|scale|shift)"),
    )
)
"""For each method: what gives a module away, and what belongs to such a module."""
_Module = tuple[str, str, re.Pattern[str]]
"""Of a quantised module: the title of its method, what to do about it, and the names of its parts."""
_FP8 = frozenset({torch.float8_e4m3fn, torch.float8_e5m2})
_SCALE_SUFFIXES = ("_scale_inv", "_scale")
DEFAULT_BLOCK = (128, 128)
"""DeepSeek-V3 report, arXiv:2412.19437, section 3.3.2."""


def readable(raws: Mapping[str, Raw], config: Mapping[str, Any]) -> tuple[dict[str, Raw], list[Gap]]:
    """What can be read of `raws`, each fp8 tensor joined with its scales; and a gap for each quantised module."""
    modules = _quantised_modules(raws, config)
    found: dict[str, Raw] = {}
    used: set[str] = set()
    gaps = [Gap(name, f"is quantised with {title}: {remedy}") for name, (title, remedy, _) in modules.items()]
    for name, raw in raws.items():
        if _belongs(name, modules):
            continue
        scale = next((raws[name + suffix] for suffix in _SCALE_SUFFIXES if name + suffix in raws), None)
        why = _unusable(raw, scale, config)
        if scale is not None:
            used.add(scale.name)
        if why:
            gaps.append(Gap(name, why))
        else:
            found[name] = raw if scale is None else ScaledTensor(raw, scale, _block(config))
    return {name: raw for name, raw in found.items() if name not in used}, gaps


def _quantised_modules(
    raws: Mapping[str, Raw], config: Mapping[str, Any]
) -> dict[str, tuple[str, str, re.Pattern[str]]]:
    declared = config.get("quantization_config")
    method = declared.get("quant_method") if isinstance(declared, Mapping) else None
    known = METHODS.get(method) if isinstance(method, str) else None
    return {
        match[1]: (*(known or METHODS[guess]), parts)
        for name in raws
        for guess, mark, parts in _MARKS
        if (match := mark.match(name))
    }


def _belongs(name: str, modules: Mapping[str, _Module]) -> bool:
    if not modules:  # nearly always, and some models have 100,000 tensors
        return False
    matches = (parts.match(name) for _, _, parts in _MARKS)
    return any(match is not None and match[1] in modules and modules[match[1]][2] is match.re for match in matches)


def _unusable(raw: Raw, scale: Raw | None, config: Mapping[str, Any]) -> str | None:
    if scale is None:
        lost = raw.dtype in _FP8 and config.get("quantization_config")
        return "is fp8 without the scales that belong to it; download the model again" if lost else None
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
        if columns != self.shape[-1]:
            raise TensorError(self.name, f"is fp8 of shape {self.shape}, which no known format scales")
        n_rows = self.shape[-2] if len(self.shape) > 1 else 1
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
