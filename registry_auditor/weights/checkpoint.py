"""Safetensors files, mapped and read a few rows at a time; nothing is copied before somebody asks."""

from __future__ import annotations

import math
import mmap
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import torch
from torch import Tensor

from registry_auditor.errors import TensorError
from registry_auditor.weights.header import Entry, read_header
from registry_auditor.weights.rows import Rows

TORCH_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""The stored types that are read; a tensor of another type is reported as not covered."""
if hasattr(torch, "float8_e8m0fnu"):  # newer DeepSeek checkpoints keep their scales in it
    TORCH_DTYPES["F8_E8M0"] = torch.float8_e8m0fnu


@runtime_checkable  # so that tests can check annotations at run time
class Raw(Protocol):
    """One tensor of a file, of any shape, not yet read."""

    @property
    def name(self) -> str:
        """As the file calls it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file describes it."""

    @property
    def dtype(self) -> torch.dtype | None:
        """None for a type that cannot be read."""

    def matrix(self, columns: int) -> Rows:
        """The numbers in their stored order, in rows of `columns`, which must divide their number."""


class Content(Protocol):
    """The bytes of one file, wherever they are."""

    def mapped(self, start: int, n_bytes: int) -> Tensor:
        """`n_bytes` uint8 from position `start`, valid as long as the tensor lives.

        Raises OSError or ValueError if the file does not have them any more.
        """


@dataclass(frozen=True)
class OpenFile:
    """The bytes of an open file; each call maps just those it returns."""

    file: BinaryIO

    def mapped(self, start: int, n_bytes: int) -> Tensor:
        """A view of the file."""
        return map_bytes(self.file, start, n_bytes)


@dataclass(frozen=True)
class MappedTensor:
    """A tensor of a safetensors file."""

    content: Content
    entry: Entry

    @property
    def name(self) -> str:
        """As the header calls it."""
        return self.entry.name

    @property
    def shape(self) -> tuple[int, ...]:
        """As the header describes it."""
        return self.entry.shape

    @property
    def dtype(self) -> torch.dtype | None:
        """None for a type that torch cannot hold."""
        return TORCH_DTYPES.get(self.entry.dtype)

    def matrix(self, columns: int) -> Rows:
        """Rows that map the file when asked for."""
        if self.dtype is None:
            raise TensorError(self.name, f"values of type {self.entry.dtype} are not read")
        n_rows = math.prod(self.shape) // columns if columns else 0
        return MappedRows(self.content, self.entry, (n_rows, columns), self.dtype)


@dataclass(frozen=True)
class MappedRows:
    """Rows of a safetensors file; equal ones hold the same numbers."""

    content: Content
    entry: Entry
    shape: tuple[int, int]
    dtype: torch.dtype

    def rows(self, start: int, stop: int) -> Tensor:
        """A view of the file, valid as long as the tensor lives. Raises TensorError if the file has shrunk."""
        row_bytes = self.shape[1] * self.dtype.itemsize
        first = self.entry.start + start * row_bytes
        try:
            flat = self.content.mapped(first, (stop - start) * row_bytes)
        except (ValueError, OSError) as error:
            raise TensorError(self.entry.name, f"the file can no longer be read ({error})") from error
        if flat.data_ptr() % self.dtype.itemsize:
            flat = flat.clone()  # torch wants numbers at multiples of their size; a header of odd length moves them
        return flat.view(self.dtype).view(stop - start, self.shape[1])


def map_bytes(file: BinaryIO, start: int, n_bytes: int) -> Tensor:
    """A view of `n_bytes` of an open file from position `start`. Raises ValueError or OSError if it is shorter."""
    window = start - start % mmap.ALLOCATIONGRANULARITY
    # Copy-on-write rather than read-only: torch refuses to be quiet about memory that it may not write.
    mapped = mmap.mmap(file.fileno(), start - window + n_bytes, access=mmap.ACCESS_COPY, offset=window)
    return torch.frombuffer(mapped, dtype=torch.uint8, count=n_bytes, offset=start - window)


def open_file(path: Path, stack: ExitStack) -> dict[str, Raw]:
    """Every tensor of one safetensors file, which stays open until `stack` closes. Raises WeightsError if broken."""
    file = stack.enter_context(path.open("rb"))
    entries = read_header(file, path, os.fstat(file.fileno()).st_size)
    content = OpenFile(file)
    return {name: MappedTensor(content, entry) for name, entry in entries.items()}
