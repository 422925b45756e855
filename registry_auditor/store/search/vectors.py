"""Rows of bank files, without reading or checking the rest of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import SEEK_END, FileIO
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
from fsspec.implementations.local import LocalFileSystem

from registry_auditor.errors import StoreError
from registry_auditor.store.banks import BankFolder

Vectors = npt.NDArray[np.float32]

BLOCK_BYTES = 2**21
"""What is read at once: small enough to be still in the processor's cache when it is multiplied."""
OPENED = 64
"""Files that are open together, at most."""


@dataclass(frozen=True)
class BankFile:
    """What the database knows about the file of a bank."""

    sha256: str
    directions: int
    dimension: int
    size_bytes: int

    @property
    def row_bytes(self) -> int:
        """Of one vector."""
        return 4 * self.dimension

    @property
    def start(self) -> int:
        """Where the vectors begin: they and two numbers for each are all that follows the header."""
        return self.size_bytes - self.directions * (self.row_bytes + 8)


def present(folder: BankFolder, file: BankFile) -> bool:
    """Whether a local file is there with the size that it had; for other storage, which is slow to ask, True."""
    if not isinstance(folder.files, LocalFileSystem):
        return True
    try:
        return Path(folder.path(file.sha256)).stat().st_size == file.size_bytes
    except OSError:
        return False


def blocks(folder: BankFolder, file: BankFile) -> Iterator[Vectors]:
    """All vectors of a bank, some rows at a time, each block valid until the next. Raises StoreError."""
    if not isinstance(folder.files, LocalFileSystem):
        with folder.failures(file.sha256):
            content = folder.files.cat_file(folder.path(file.sha256), file.start, file.start + _vector_bytes(file))
        if len(content) != _vector_bytes(file):
            raise _changed(folder, file)
        yield _rows(content, file)
        return
    at_once = max(BLOCK_BYTES // file.row_bytes, 1)
    buffer = np.empty((min(at_once, file.directions), file.dimension), "<f4")
    with _opened(folder, file) as handle:
        handle.seek(file.start)
        for first in range(0, file.directions, at_once):
            block = buffer[: file.directions - first]
            if handle.readinto(block.data) != block.nbytes:
                raise _changed(folder, file)
            yield block


def rows(
    folder: BankFolder, wanted: Sequence[tuple[BankFile, int]], *, dimension: int
) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """Single vectors, in the order of `wanted`, and which of them could be read; the others are zeros."""
    vectors = np.zeros((len(wanted), dimension), "<f4")
    read = np.zeros(len(wanted), np.bool_)
    if isinstance(folder.files, LocalFileSystem):
        places = sorted(range(len(wanted)), key=lambda place: (wanted[place][0].sha256, wanted[place][1]))
        for first in range(0, len(places), OPENED):
            some = places[first : first + OPENED]
            for place, content in _local(folder, [(place, *wanted[place]) for place in some]):
                vectors[place], read[place] = np.frombuffer(content, "<f4"), True
        return vectors, read
    starts = [file.start + ordinal * file.row_bytes for file, ordinal in wanted]
    paths = [folder.path(file.sha256) for file, _ in wanted]
    # All at once: what is slow about an object store is the answer, not its length.
    contents = folder.files.cat_ranges(paths, starts, [start + 4 * dimension for start in starts], on_error="return")
    for place, content in enumerate(contents):
        if isinstance(content, bytes) and len(content) == 4 * dimension:
            vectors[place], read[place] = np.frombuffer(content, "<f4"), True
    return vectors, read


def _local(folder: BankFolder, wanted: Iterable[tuple[int, BankFile, int]]) -> Iterator[tuple[int, bytes]]:
    """Of each (place, file, ordinal) the place and the bytes; what cannot be read is left out."""
    with ExitStack() as stack:
        announced = []
        for file, members in groupby(wanted, key=lambda one: one[1]):
            try:
                handle = stack.enter_context(_opened(folder, file))
            except StoreError:  # its directions count as missing
                continue
            for place, _, ordinal in members:
                start = file.start + ordinal * file.row_bytes
                announced.append((place, handle, start, file.row_bytes))
                if sys.platform == "linux":  # the disk then looks for all of them at once
                    os.posix_fadvise(handle.fileno(), start, file.row_bytes, os.POSIX_FADV_WILLNEED)
        for place, handle, start, size in announced:
            handle.seek(start)
            with suppress(OSError):  # likewise
                if len(content := handle.read(size)) == size:
                    yield place, content


@contextmanager
def _opened(folder: BankFolder, file: BankFile) -> Iterator[FileIO]:
    # Not through fsspec, which takes ten times as long to open a file.
    with folder.failures(file.sha256), Path(folder.path(file.sha256)).open("rb", buffering=0) as handle:
        if handle.seek(0, SEEK_END) != file.size_bytes:
            raise _changed(folder, file)
        yield handle


def _rows(content: bytes, file: BankFile) -> Vectors:
    return np.frombuffer(content, "<f4").reshape(file.directions, file.dimension)


def _vector_bytes(file: BankFile) -> int:
    return file.directions * file.row_bytes


def _changed(folder: BankFolder, file: BankFile) -> StoreError:
    return StoreError(
        f"bank {file.sha256}: {folder.path(file.sha256)} has not the size that was written; restore it from a copy"
    )
