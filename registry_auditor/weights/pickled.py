"""PyTorch `.bin` files: the one place that unpickles anything, and it unpickles tensors only."""

from __future__ import annotations

import math
import mmap
import pickle
import pickletools
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from jaxtyping import Shaped
from torch import Tensor

from registry_auditor.errors import TensorError, WeightsError
from registry_auditor.weights.checkpoint import Raw
from registry_auditor.weights.folder import printable
from registry_auditor.weights.header import is_usable_name
from registry_auditor.weights.rows import Rows

MAX_FILE_BYTES = 64 * 2**30
MAX_LEGACY_BYTES = 4 * 2**30
"""Files from before PyTorch 1.6 cannot be mapped; they are read into memory as a whole."""
MAX_PICKLE_BYTES = 64 * 2**20
_SMALL_NUMBER = 2**20
_LEGACY_PREAMBLE = 3
"""Pickles in front of the one that describes the tensors: a magic number, a version, the machine."""
_WRAPPERS = ("state_dict", "model_state_dict", "module", "model")

# What torch.load is known to raise on files that are broken or made to break it.
_LOAD_ERRORS = (
    pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError, KeyError, IndexError, AttributeError,
    TypeError, AssertionError, OverflowError, RecursionError, zipfile.BadZipFile,
)  # fmt: skip


class _Refused(ValueError):
    """Found before anything was unpickled."""


@dataclass(frozen=True, eq=False)
class LoadedTensor:
    """A tensor of a mapped `.bin` file."""

    name: str
    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file describes it."""
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> torch.dtype | None:
        """None for what is no plain array of numbers in this file."""
        values = self.tensor
        plain = values.layout == torch.strided and not values.is_quantized and values.device.type == "cpu"
        # A view that repeats its numbers would let a small file ask for any amount of memory.
        if not plain or math.prod(self.shape) * values.dtype.itemsize > values.untyped_storage().nbytes():
            return None
        return values.dtype

    def matrix(self, columns: int) -> Rows:
        """Rows that view the mapped file."""
        if self.dtype is None:
            raise TensorError(self.name, "is no plain array of numbers in this file")
        return LoadedRows(self.tensor.detach().reshape(-1, columns))


@dataclass(frozen=True, eq=False)
class LoadedRows:
    """Rows of a tensor."""

    values: Shaped[Tensor, "rows columns"]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the tensor."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensor."""
        return self.values.dtype

    def rows(self, start: int, stop: int) -> Tensor:
        """A view."""
        return self.values[start:stop]


def open_pickled(path: Path) -> dict[str, Raw]:
    """Every tensor of one `.bin` file; nothing in it is executed.

    Raises WeightsError if the file holds anything but tensors in plain containers, is compressed, is broken,
    promises more than it holds, or exceeds the limits of this module.
    """
    file_bytes = path.stat().st_size
    mapped = zipfile.is_zipfile(path)
    limit = MAX_FILE_BYTES if mapped else MAX_LEGACY_BYTES
    if file_bytes > limit:
        raise WeightsError(f"{path.name}: {file_bytes} bytes exceed the limit of {limit}; convert it to safetensors")
    try:
        (_check_archive if mapped else _check_legacy)(path, file_bytes)
        content = torch.load(str(path), map_location="cpu", mmap=mapped, weights_only=True)
    except _LOAD_ERRORS as error:
        raise WeightsError(f"{path.name}: {_reason(error)}") from error
    return {name: LoadedTensor(name, value) for name, value in _state(content, path).items()}


def _state(content: Any, path: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise WeightsError(f"{path.name}: holds {type(content).__name__} rather than named tensors; do not load it")
    state = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if unusable := next((name for name in state if not is_usable_name(name)), None):
        raise WeightsError(f"{path.name}: {unusable[:80]!r} is no usable tensor name; do not load this file")
    return state


def _check_archive(path: Path, file_bytes: int) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise _Refused("is compressed, which PyTorch never writes; do not load it")
            if entry.file_size > file_bytes:
                raise _Refused("promises more than it holds; download it again")
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl"):
                if entry.file_size > MAX_PICKLE_BYTES:
                    raise _Refused(f"describes its tensors in {entry.file_size} bytes; do not load it")
                _check_numbers(archive.read(entry), file_bytes)


def _check_legacy(path: Path, file_bytes: int) -> None:
    if file_bytes == 0:
        raise _Refused("is empty; download it again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for _ in range(_LEGACY_PREAMBLE):
            for _ in pickletools.genops(cast(BinaryIO, content)):
                pass
        _check_numbers(content, file_bytes)


def _check_numbers(description: bytes | mmap.mmap, file_bytes: int) -> None:
    """Refuse a pickle in which any number exceeds the file: sizes are allocated before they are found to be lies."""
    largest = max(file_bytes, _SMALL_NUMBER)
    for _, argument, _ in pickletools.genops(cast(BinaryIO, description)):  # a map never reads past its end
        if isinstance(argument, int) and not isinstance(argument, bool) and argument > largest:
            raise _Refused(f"promises {argument} of something and holds {file_bytes} bytes; do not load it")


def _reason(error: Exception) -> str:
    text = str(error)
    forbidden = re.search(r"GLOBAL (\S+)", text)
    if isinstance(error, pickle.UnpicklingError) and forbidden:
        return (
            f"holds code ({printable(forbidden[1][:200])}) beside tensors; it was not executed; do not load this model"
        )
    if isinstance(error, _Refused):
        return text
    # torch's own words are not repeated: they recommend to load the file unsafely
    return "is broken, or holds something other than tensors (nothing was executed); download it again, if you trust it"
