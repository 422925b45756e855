"""Fetched files on disk, kept until room is needed; what is there is complete."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from registry_auditor.errors import RegistryError

DEFAULT_LIMIT_BYTES = 50 * 2**30
LOOK_EVERY = 32
"""A process adds up to this part of the limit before it counts again what all of them keep: counting takes a
look at every entry, which a whole model has hundreds of."""
ABANDONED_AFTER_S = 24 * 3600.0
"""A partial file that nobody has written to for so long belongs to a process that died."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class _Growth:
    """Bytes that were added since the entries were last counted; None: they never were."""

    added: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Cache:
    """Entries by key in `folder`, shared by any number of threads and processes.

    Past `limit_bytes` those go that were not asked for the longest. Files that are open or mapped stay readable
    (where the system allows to remove them at all); a path may be gone when it is opened: ask for it again.
    """

    folder: Path
    limit_bytes: int = DEFAULT_LIMIT_BYTES
    _growth: _Growth = field(default_factory=_Growth, repr=False, compare=False)

    def file(self, key: str, fetch: Callable[[Path], None]) -> Path:
        """The file under `key`; if it is not there, what `fetch` writes to the path it is given.

        Whoever asks for the same key meanwhile waits. Nothing is kept if `fetch` raises.
        Raises RegistryError if the disk is full or the folder cannot be made.
        """
        return self._entry(key, fetch)

    def folder_of(self, key: str, fetch: Callable[[Path], None]) -> Path:
        """The folder under `key`; if it is not there, what `fetch` puts into the empty folder it is given.

        Otherwise like `file`.
        """

        def fill(partial: Path) -> None:
            partial.mkdir()
            fetch(partial)

        return self._entry(key, fill)

    def known(self, key: str) -> Path | None:
        """What is there under `key`, None if nothing is."""
        path = self._path(key)
        return path if _touched(path) else None

    def forget(self, key: str) -> None:
        """Afterwards there is nothing under `key`."""
        self._discard(self._path(key))

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / "entries" / name[:2] / name

    def _entry(self, key: str, fetch: Callable[[Path], None]) -> Path:
        path = self._path(key)
        if _touched(path):
            return path
        for needed in (path.parent, self._partials):
            self._make(needed)
        lock = self._partials / f"{path.name}.lock"
        with self._said_if_full(), FileLock(lock):
            if not _touched(path):
                self._fetch(path, fetch)
            # Nobody is misled by its absence: whoever waits for it, or makes another, looks for the entry first.
            lock.unlink(missing_ok=True)
        self._make_room(path)
        return path

    def _fetch(self, path: Path, fetch: Callable[[Path], None]) -> None:
        partial = self._partials / f"{path.name}.{uuid.uuid4().hex}"
        try:
            fetch(partial)
            os.utime(partial)
            size = _size(partial)
            partial.rename(path)
        finally:
            _remove(partial)
        with self._growth.lock:
            if self._growth.added is not None:
                self._growth.added += size

    @property
    def _partials(self) -> Path:
        return self.folder / "partial"

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(
                f"{folder}: cannot be made ({error.strerror}); let `cache` name a folder that can be written"
            ) from error

    @contextmanager
    def _said_if_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise RegistryError(
                f"{self.folder}: the disk is full; make room, lower cache_gib, or let `cache` name another disk"
            ) from error

    def _make_room(self, asked: Path) -> None:
        with self._growth.lock:
            if self._growth.added is not None and self._growth.added < self.limit_bytes // LOOK_EVERY:
                return
            self._growth.added = 0
        self._sweep()
        entries = list(_entries(self.folder / "entries"))
        excess = sum(entry.size_bytes for entry in entries) - self.limit_bytes
        # A clock of files ticks every few milliseconds: of those that were asked for in one tick, the larger goes.
        for entry in sorted(entries, key=lambda entry: (entry.asked_at, -entry.size_bytes)):
            if excess <= 0:
                break
            if entry.path != asked:
                self._discard(entry.path)
                excess -= entry.size_bytes

    def _discard(self, path: Path) -> None:
        discarded = self._partials / f"{path.name}.{uuid.uuid4().hex}"
        with suppress(FileNotFoundError):  # another process was faster
            path.rename(discarded)  # so that nobody is handed a folder that is half removed
            _remove(discarded)

    def _sweep(self) -> None:
        for path in self._partials.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - ABANDONED_AFTER_S:
                    _remove(path)


def _touched(path: Path) -> bool:
    try:
        os.utime(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


class _Entry(NamedTuple):
    asked_at: float
    size_bytes: int
    path: Path


def _entries(folder: Path) -> Iterator[_Entry]:
    for path in folder.glob("*/*"):
        with suppress(FileNotFoundError):
            yield _Entry(path.stat().st_mtime, _size(path), path)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(each.lstat().st_size for each in path.rglob("*"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
