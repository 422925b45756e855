"""Safetensors files that lie elsewhere: the header travels at once, a tensor when somebody asks for its numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from registry_auditor.errors import WeightsError
from registry_auditor.weights.checkpoint import MappedTensor, Raw, map_bytes
from registry_auditor.weights.header import Entry, read_header

SMALL_BYTES = 2**20
"""Tensors below this size that lie side by side travel together: a request takes longer than they do."""
PIECE_BYTES = 4 * 2**20
"""About what travels in the time that a request takes to arrive: as many small tensors, and so much of a large one
first, since it is often enough to see a difference."""
UNCUT_BYTES = 16 * 2**20
"""A tensor of up to this size travels as a whole."""
LARGE_PIECE_BYTES = 64 * 2**20
"""What follows of a larger one travels in pieces of this size."""
HEADER_BYTES = 2**16
"""How much of a large file is asked for to begin with; the headers of most files are shorter."""
_ATTEMPTS = 3


class RemoteFile(Protocol):
    """A file that is not, or not all of it, on this machine. Equal files hold equal bytes."""

    @property
    def name(self) -> str:
        """Its path in the folder of the model."""

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""

    def fetch(self, start: int, stop: int) -> tuple[Path, int]:
        """A local file with its bytes `start` to `stop` (excluded), and where in that local file they begin.

        The local file may be removed at any time to make room, and comes back when it is asked for again.
        Raises RegistryError if the bytes cannot be had.
        """

    def whole(self) -> Path:
        """A local copy of the whole file, under its own name. Raises like `fetch`."""


@dataclass(frozen=True)
class RemoteContent:
    """The bytes of a remote file.

    Which of them travel together depends on the file alone, so that they are found again by whoever reads it next.
    """

    file: RemoteFile
    cuts: tuple[int, ...]
    """Where pieces begin; the last is the end of the file."""

    def mapped(self, start: int, n_bytes: int) -> Tensor:
        """As for an open file; a copy where the bytes lie in several pieces. Raises RegistryError, too."""
        stop = start + n_bytes
        first = bisect_right(self.cuts, start) - 1
        parts = []
        for low, high in zip(self.cuts[first:], self.cuts[first + 1 :], strict=False):
            if low >= stop:
                break
            inner = max(start, low)
            parts.append(self._piece(low, high, inner - low, min(stop, high) - inner))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _piece(self, low: int, high: int, skip: int, n_bytes: int) -> Tensor:
        for attempt in range(_ATTEMPTS):
            path, position = self.file.fetch(low, high)
            try:
                with path.open("rb") as file:
                    return map_bytes(file, position + skip, n_bytes)
            except FileNotFoundError:  # removed in this very moment, to make room for another
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")


@dataclass
class _Beginning:
    """Reads a remote file from its start, in one request if the header is no longer than most."""

    file: RemoteFile
    position: int = 0

    def read(self, n_bytes: int, /) -> bytes:
        stop = min(self.position + n_bytes, self.file.size_bytes)
        content = b""
        for low, high in _pieces_of_header(stop, self.file.size_bytes):
            if high > self.position:
                path, offset = self.file.fetch(low, high)
                with path.open("rb") as file:
                    file.seek(offset)
                    content += file.read(high - low)[max(0, self.position - low) : stop - low]
        self.position = stop
        return content


def open_remote(file: RemoteFile) -> dict[str, Raw]:
    """Every tensor of a safetensors file. Raises WeightsError if its header is broken or hostile."""
    if file.size_bytes < 0:
        raise WeightsError(f"{file.name}: has no size; download it again")
    entries = read_header(_Beginning(file), Path(file.name), file.size_bytes)
    content = RemoteContent(file, tuple(_cuts(entries.values(), file.size_bytes)))
    return {name: MappedTensor(content, entry) for name, entry in entries.items()}


def _pieces_of_header(stop: int, file_bytes: int) -> Iterator[tuple[int, int]]:
    if file_bytes <= PIECE_BYTES:
        yield 0, file_bytes
        return
    yield 0, HEADER_BYTES
    if stop > HEADER_BYTES:
        yield HEADER_BYTES, stop


def _cuts(entries: Iterable[Entry], file_bytes: int) -> Iterator[int]:
    """Where the pieces of the file begin, and its end; `entries` are in the order of their bytes."""
    yield 0
    begun, follows_small = 0, False
    for entry in entries if file_bytes > PIECE_BYTES else ():
        end, is_small = entry.start + entry.n_bytes, entry.n_bytes < SMALL_BYTES
        goes_along = is_small and follows_small and end - begun <= PIECE_BYTES
        if entry.start > begun and not goes_along:
            yield (begun := entry.start)
        if entry.n_bytes > UNCUT_BYTES:
            yield from range(begun + PIECE_BYTES, end, LARGE_PIECE_BYTES)
        follows_small = is_small
    yield file_bytes
