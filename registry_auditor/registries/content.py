"""What a folder holds: a digest of its content, and whether somebody has touched it since.

A file that has not changed is hashed once in a process. What says that it has not changed is its inode, size and
times, of which the change time cannot be set: whoever writes to a file and restores its modification time, or moves
another one into its place, is noticed. Only a process of the same machine that keeps the file mapped could write
unnoticed for a while; who fears that keeps uploaders off the machine.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from registry_auditor.domain import digest_of
from registry_auditor.errors import RegistryError, RegistryUnavailable

THREADS = 4
"""hashlib releases the interpreter while it hashes."""
WORTH_THREADS_BYTES = 2**24
"""Hashed in about 10 ms; less than that takes longer with threads than without."""
TICK_NS = 20_000_000
"""Two changes within one tick of the kernel's clock can bear the same time; it ticks every 10 ms at the slowest."""
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
MAX_KNOWN = 2**17
"""Digests that are remembered, about 60 MB."""


class Stamp(NamedTuple):
    """Equal as long as a file has not been written to, replaced, or given other times or rights."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The stamp of a file with that status."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True)
class Look:
    """One look at a folder, without reading files."""

    files: Mapping[str, Stamp]
    """Every regular file by its path in the folder, in the order of the digest."""
    changed_ns: int
    """When a file, link or folder in it, or the folder itself, changed last."""


_known: OrderedDict[Stamp, str] = OrderedDict()
_known_lock = threading.Lock()
_held: defaultdict[Path, list[Mapping[str, Stamp]]] = defaultdict(list)


def look(folder: Path) -> Look:
    """What lies in `folder` now, at any depth. What is hidden does not count; links to folders are not followed.

    Raises RegistryError if it, or a folder in it, cannot be read.
    """
    files: dict[str, Stamp] = {}
    changed_ns = _ctime_ns(folder)
    outer = len(str(folder)) + 1
    for _, entries in walk(folder, on_error=_raise):
        for entry in entries:
            own, target = _statuses(entry)
            changed_ns = max([changed_ns, *(each.st_ctime_ns for each in (own, target) if each)])
            if target and stat.S_ISREG(target.st_mode):
                files[entry.path[outer:].replace(os.sep, "/")] = Stamp.of(target)
    return Look(dict(sorted(files.items(), key=lambda file: file[0].split("/"))), changed_ns)


def walk(folder: Path, *, on_error: Callable[[OSError], None]) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """`folder` and each folder below it with what is in it, less what is hidden; folders may be removed from the list.

    Links are not followed. However deep the tree, which os.walk before Python 3.12 is not.
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as found:
                entries = sorted((each for each in found if each.name[0] != "."), key=lambda each: each.name)
        except OSError as error:
            on_error(error)
            continue
        yield place, entries
        waiting.extend(Path(each.path) for each in reversed(entries) if each.is_dir(follow_symlinks=False))


def content_digest(folder: Path) -> str:
    """`sha256:…` of the names, sizes and bytes of the files of `folder` that `look` counts.

    Raises RegistryUnavailable if they change meanwhile, RegistryError if one cannot be read.
    """
    files = look(folder).files
    digests = {name: digest for name, stamp in files.items() if (digest := _recalled(stamp))}
    unread = [name for name in files if name not in digests]
    if unread:
        large = sum(files[name].size for name in unread) > WORTH_THREADS_BYTES
        with ThreadPoolExecutor(THREADS) if large else nullcontext() as pool:
            read = (pool.map if pool else map)(lambda name: _file_digest(folder / name, files[name]), unread)
            digests.update(zip(unread, read, strict=True))
        if look(folder).files != files:
            raise _changing(folder)
    return f"sha256:{digest_of([[utf8(name), digests[name]] for name in files])}"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Until the context ends, `check_untouched` compares `folder` with what it is now."""
    files = look(folder).files
    _held[folder].append(files)
    try:
        yield
    finally:
        _held[folder].remove(files)
        if not _held[folder]:
            _held.pop(folder, None)


def check_untouched(folder: Path) -> None:
    """Raise RegistryUnavailable if a file of `folder` was touched while it was held, even if it is as it was before.

    Nobody knows what was read meanwhile; whoever reads it again will.
    """
    held = list(_held.get(folder, ()))
    files = look(folder).files if held else {}
    for before in held:
        touched = next((name for name in (*before, *files) if before.get(name) != files.get(name)), None)
        if touched is not None:
            raise RegistryUnavailable(
                f"{folder}: {utf8(touched)} was touched while it was read; leave it and try again"
            )


def _recalled(stamp: Stamp) -> str | None:
    with _known_lock:
        if stamp in _known:
            _known.move_to_end(stamp)
        return _known.get(stamp)


def _file_digest(path: Path, stamp: Stamp) -> str:
    age_ns = time.time_ns() - stamp.ctime_ns
    if 0 <= age_ns < TICK_NS:
        time.sleep((TICK_NS - age_ns) / 1e9)
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if Stamp.of(os.fstat(file.fileno())) != stamp:
                raise _changing(path)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if Stamp.of(os.fstat(file.fileno())) != stamp:
                raise _changing(path)
    except FileNotFoundError:
        raise _changing(path) from None
    except OSError as error:
        raise unreadable(path, error) from error
    if age_ns >= 0:  # the clock of the file system is not ahead of ours, so that the tick is over
        with _known_lock:
            _known[stamp] = digest
            if len(_known) > MAX_KNOWN:
                _known.popitem(last=False)
    return digest


def _without_waiting(path: str, flags: int) -> int:
    """What has become a pipe meanwhile opens at once, too."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _statuses(entry: os.DirEntry[str]) -> tuple[os.stat_result | None, os.stat_result | None]:
    """Of what is there, and of where it leads if it is a link; None for what leads nowhere, or is gone by now."""
    own = target = None
    try:
        own = target = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(own.st_mode):
            target = None
            target = entry.stat()
    except OSError as error:
        if error.errno not in _NOWHERE:
            raise unreadable(Path(entry.path), error) from error
    return own, target


def _ctime_ns(path: Path) -> int:
    try:
        return path.stat().st_ctime_ns
    except OSError as error:
        raise unreadable(path, error) from error


def utf8(name: str) -> str:
    """A name that is no UTF-8, spelt out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _raise(error: OSError) -> None:
    raise unreadable(Path(error.filename), error) from error


def unreadable(path: Path, error: OSError) -> RegistryError:
    """That `path` cannot be read, why, and what to do."""
    return RegistryError(f"{utf8(str(path))}: cannot be read ({error.strerror}); check its permissions")


def _changing(path: Path) -> RegistryUnavailable:
    return RegistryUnavailable(f"{utf8(str(path))}: changed while it was read; wait until it is written")
