"""Bank files: directions as safetensors, each file named by the sha256 of its bytes."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import safetensors.numpy
from fsspec.implementations.local import LocalFileSystem

from registry_auditor.domain import Direction, canonical_json
from registry_auditor.errors import NotFound, StoreError, UsageError
from registry_auditor.store.columns import plain
from registry_auditor.store.engine import without_password

FORMAT = "registry-auditor/bank-1"
CHUNK_BYTES = 8 * 2**20
SKETCHED = 2**24
"""Banks of so many numbers get their sketches when they are saved, which takes 0.7 s of one core; larger ones get them
from the search that needs them first."""


@dataclass(frozen=True)
class Bank:
    """Directions of one dimension, and the name that their bytes have."""

    directions: tuple[Direction, ...]
    basis: str
    dimension: int
    sha256: str
    size_bytes: int
    sketches: bytes | None
    """As `numerics.sketch` makes them; None where that would keep the saving of a run waiting."""


def group(directions: Iterable[Direction], *, basis: str) -> list[Bank]:
    """One bank a dimension, in the order in which the dimensions first appear.

    Equal directions in equal order give equal banks. The vectors are hashed where they are, not copied together.
    """
    by_dimension: dict[int, list[Direction]] = {}
    for direction in directions:
        by_dimension.setdefault(direction.vector.size, []).append(direction)
    return [_bank(tuple(members), basis, dimension) for dimension, members in by_dimension.items()]


def _bank(directions: tuple[Direction, ...], basis: str, dimension: int) -> Bank:
    sha256, size_bytes = hashlib.sha256(), 0
    for chunk in encode(directions, basis):
        sha256.update(chunk)
        size_bytes += len(chunk)
    return Bank(directions, basis, dimension, sha256.hexdigest(), size_bytes, _sketches(directions))


def _sketches(directions: Sequence[Direction]) -> bytes | None:
    if len(directions) * directions[0].vector.size > SKETCHED:
        return None
    # Imported only here: a web server does not save runs.
    from registry_auditor.numerics.sketch import AT_ONCE, sketch

    some = (directions[first : first + AT_ONCE] for first in range(0, len(directions), AT_ONCE))
    return b"".join(sketch(np.stack([d.vector.astype("<f4") for d in part])).tobytes() for part in some)


def encode(directions: Sequence[Direction], basis: str) -> Iterator[bytes]:
    """The safetensors file of `directions`, vector by vector.

    Written here rather than by the library, so that the bytes, and with them the name, depend on nothing else.
    """
    count, dimension = len(directions), directions[0].vector.size
    sites = [[d.site.tensor, d.site.layer, d.site.role, d.site.side, d.rank] for d in directions]
    header: dict[str, Any] = {
        "__metadata__": {"format": FORMAT, "basis": plain(basis), "sites": canonical_json(plain(sites))}
    }
    offset = 0
    for name, shape in (("vectors", [count, dimension]), ("strength", [count]), ("residual", [count])):
        end = offset + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for direction in directions:
        yield direction.vector.astype("<f4").tobytes()
    yield np.array([d.strength for d in directions], "<f4").tobytes()
    yield np.array([d.residual for d in directions], "<f4").tobytes()


@dataclass(frozen=True)
class BankFolder:
    """A folder, or a prefix of an object store, that holds bank files."""

    url: str
    files: Any
    root: str

    @classmethod
    def open(cls, url: str) -> BankFolder:
        """Whatever fsspec understands: a path, `s3://bucket/prefix`, `memory://x`. Nothing is created yet."""
        try:
            files, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise UsageError(
                f"banks {without_password(url)}: {error}; pass a folder, or install what its protocol needs"
            ) from error
        return cls(without_password(url), files, root.rstrip("/"))

    def write(self, bank: Bank) -> None:
        """Afterwards the file is there, whole and intact. A file that somebody damaged is replaced."""
        path = self.path(bank.sha256)
        with self.failures(bank.sha256):
            if self.files.exists(path) and self._digest(path) == bank.sha256:
                return
            self.files.makedirs(self.files._parent(path), exist_ok=True)
            # Under its own name only when complete: a reader, or a killed worker, never leaves half a bank.
            partial = f"{path}.{uuid.uuid4().hex}.partial"
            try:
                with self.files.open(partial, "wb") as file:
                    for chunk in encode(bank.directions, bank.basis):
                        file.write(chunk)
                    if isinstance(self.files, LocalFileSystem):
                        file.flush()
                        os.fsync(file.fileno())
                self._move(partial, path)
            except BaseException:
                with suppress(OSError):
                    self.files.rm_file(partial)
                raise

    def read(self, sha256: str) -> bytes:
        """The bytes of a bank, all in memory. Raises StoreError if they are missing or not what was written."""
        path = self.path(sha256)
        with self.failures(sha256):
            content: bytes = self.files.cat_file(path)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise _damaged(sha256, path)
        return content

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """The bytes of a bank, piece by piece; the last piece comes only if all of them are what was written.

        Raises StoreError, before the first piece, if they are missing, and before the last one if they were changed.
        """
        path, digest, held = self.path(sha256), hashlib.sha256(), b""
        with self.failures(sha256), self.files.open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                if held:
                    yield held
                digest.update(chunk)
                held = chunk
        if digest.hexdigest() != sha256:
            raise _damaged(sha256, path)
        yield held

    def vectors(self, sha256: str) -> npt.NDArray[np.float32]:
        """The directions of a bank, one a row."""
        tensors: dict[str, npt.NDArray[np.float32]] = safetensors.numpy.load(self.read(sha256))
        return tensors["vectors"]

    def path(self, sha256: str) -> str:
        """Where the file of a bank is, or would be. Raises NotFound for what is no digest."""
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise NotFound(f"{sha256!r} is no bank: give the 64 hex digits that `audits show` prints")
        return f"{self.root}/{sha256[:2]}/{sha256}.safetensors"

    def _digest(self, path: str) -> str:
        sha256 = hashlib.sha256()
        with self.files.open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                sha256.update(chunk)
        return sha256.hexdigest()

    def _move(self, partial: str, path: str) -> None:
        if isinstance(self.files, LocalFileSystem):
            os.replace(partial, path)  # noqa: PTH105  # fsspec's own move copies when it cannot rename
        else:
            self.files.mv(partial, path)

    @contextmanager
    def failures(self, sha256: str) -> Iterator[None]:
        """Turn what goes wrong with the file of a bank into a StoreError."""
        try:
            yield
        except FileNotFoundError as error:
            raise StoreError(
                f"bank {sha256}: there is no such file in {self.url}; pass the place where it was written with --banks"
            ) from error
        except OSError as error:
            raise StoreError(f"bank {sha256}: {self.url}: {error}; check its permissions and free space") from error


def _damaged(sha256: str, path: str) -> StoreError:
    return StoreError(
        f"bank {sha256}: {path} holds other bytes than were written; "
        "restore it from a copy, or delete it and audit the model again in a fresh database"
    )
