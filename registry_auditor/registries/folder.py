"""Models in folders: the name is a path, the revision a digest of the content."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from registry_auditor.domain import ModelRef, digest_of
from registry_auditor.errors import RegistryError
from registry_auditor.weights import Snapshot, open_snapshot

CHUNK_BYTES = 2**20
THREADS = 4
"""hashlib releases the interpreter while it hashes."""


def resolve(name: str) -> ModelRef:
    """The folder `name` at the content it has now, as `dir:/absolute/path@sha256:…`.

    Raises RegistryError if it is no folder or a file in it cannot be read.
    """
    path = Path(name).expanduser().resolve()
    if not path.is_dir():
        raise RegistryError(f"{name}: no such folder; pass a folder with weights, or hf:org/name for a Hub model")
    return ModelRef("dir", str(path), f"sha256:{_content_digest(path)}")


@contextmanager
def open_model(ref: ModelRef) -> Iterator[Snapshot]:
    """The weights in the folder of `ref`. Raises WeightsError if they are broken or hostile."""
    with open_snapshot(Path(ref.name)) as snapshot:
        yield snapshot


def sibling(path: Path, claimed: str) -> Path | None:
    """The folder beside `path` that is called like `claimed`, or like the last part of its name; None if none is.

    What lies elsewhere, or in `path` itself, is none: a model may not bring along what it is compared with.
    """
    for name in dict.fromkeys((claimed, claimed.rstrip("/").rpartition("/")[2])):
        candidate = Path(os.path.normpath(path.parent / name))
        beside = path.parent in candidate.parents and path not in (candidate, *candidate.parents)
        if beside and candidate.is_dir():
            return candidate
    return None


def _content_digest(folder: Path) -> str:
    """A digest of every regular file that is not hidden: names, sizes and bytes."""
    files = sorted(_files(folder))
    with ThreadPoolExecutor(THREADS) as pool:
        digests = pool.map(_file_digest, files)
        return digest_of(
            [[file.relative_to(folder).as_posix(), digest] for file, digest in zip(files, digests, strict=True)]
        )


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):  # does not follow links to folders, so that no loop can arise
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and path.exists() and stat.S_ISREG(path.stat().st_mode):
                yield path


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise RegistryError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    return digest.hexdigest()
