"""The header of a safetensors file, checked against the file before anything believes it."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from registry_auditor.errors import Unfinished, WeightsError

MAX_HEADER_BYTES = 100_000_000
"""The limit of the reference implementation."""
MAX_NAME_LENGTH = 512
MAX_DIMENSIONS = 8
_LENGTH_BYTES = 8

ITEM_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "C64": 64,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One tensor as the header describes it; `start` counts bytes from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    n_bytes: int


class Readable(Protocol):
    """What is read from its beginning."""

    def read(self, n_bytes: int, /) -> bytes:
        """The next `n_bytes`, fewer only at the end."""


def read_header(file: Readable, path: Path, file_bytes: int) -> dict[str, Entry]:
    """Every tensor of the file by name, in the order of its bytes.

    Reads the header only, and no more of it than the file holds.
    Raises Unfinished if the file ends too early, WeightsError if the header contradicts the file or itself:
    too long, not JSON, names twice, unknown types, sizes that do not follow from shapes, bytes that belong to two
    tensors or to none.
    """
    prefix = file.read(_LENGTH_BYTES)
    if len(prefix) < _LENGTH_BYTES:
        raise Unfinished(f"{path.name}: {file_bytes} bytes are no safetensors file; download it again")
    length = int.from_bytes(prefix, "little")
    if length == 0:
        raise Unfinished(f"{path.name}: begins with zeros, so that nothing is written yet; download it again")
    if length > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{path.name}: promises a header of {length} bytes (limit {MAX_HEADER_BYTES}); do not load it"
        )
    if length > file_bytes - _LENGTH_BYTES:
        raise Unfinished(f"{path.name}: promises a header of {length} bytes and holds {file_bytes}; download it again")
    content = _parse(file.read(length), path)
    content.pop("__metadata__", None)
    data_start = _LENGTH_BYTES + length
    entries = sorted((_entry(name, fields, path, data_start) for name, fields in content.items()), key=_position)
    _check_layout(entries, path, data_start, file_bytes)
    return {entry.name: entry for entry in entries}


def is_usable_name(name: str) -> bool:
    """Whether a tensor may be called that: short, and nothing in it moves a terminal's cursor."""
    return len(name) <= MAX_NAME_LENGTH and name.isprintable()


def _position(entry: Entry) -> tuple[int, int]:
    return entry.start, entry.n_bytes


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name}: the header is not valid JSON ({error}); download it again") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path.name}: the header is no JSON object; download it again")
    return content


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise ValueError(f"{twice[:MAX_NAME_LENGTH]!r} appears twice")
    return content


def _entry(name: str, fields: Any, path: Path, data_start: int) -> Entry:
    if not is_usable_name(name):
        raise WeightsError(f"{path.name}: {name[:80]!r} is no usable tensor name; do not load this file")
    where = f"{path.name}: {name}"
    if not isinstance(fields, dict) or not {"dtype", "shape", "data_offsets"} <= fields.keys():
        raise WeightsError(f"{where} lacks a type, a shape or offsets; download the file again")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise WeightsError(f"{where} has the unknown type {str(dtype)[:40]!r}")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise WeightsError(f"{where} has no usable shape; do not load this file")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise WeightsError(f"{where} has no usable offsets; do not load this file")
    start, end = offsets
    needed_bits = math.prod(shape) * ITEM_BITS[dtype]
    if needed_bits != (end - start) * 8:
        raise WeightsError(
            f"{where} is {dtype} of shape {shape}, which takes {needed_bits / 8:.0f} bytes, and is given {end - start}"
        )
    return Entry(name, dtype, tuple(shape), data_start + start, end - start)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**48 for value in values)


def _check_layout(entries: list[Entry], path: Path, data_start: int, file_bytes: int) -> None:
    position = data_start
    for entry in entries:
        if entry.start < position:
            raise WeightsError(f"{path.name}: {entry.name} shares bytes with another tensor; do not load this file")
        if entry.start > position:
            raise WeightsError(f"{path.name}: {entry.start - position} bytes before {entry.name} belong to no tensor")
        position = entry.start + entry.n_bytes
    if position > file_bytes:
        raise Unfinished(
            f"{path.name}: truncated: {position} bytes are promised, the file holds {file_bytes}; download it again"
        )
    if position < file_bytes:
        raise WeightsError(f"{path.name}: the last {file_bytes - position} bytes belong to no tensor")
