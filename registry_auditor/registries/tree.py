"""Which folders of a directory tree are models, and when they changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries.content import look, unreadable, walk
from registry_auditor.weights.arrival import final_name
from registry_auditor.weights.files import read_as_weights, why_unread


@dataclass(frozen=True)
class Found:
    """A folder that holds weights, or may."""

    path: Path
    touched_ns: int = 0
    """When anything in it changed last. Like `placed_ns` by change times, which nobody can set."""
    placed_ns: int = 0
    """When a folder around it was moved to its place, or given other rights."""
    problem: str | None = None
    """Why it is no model that can be read."""

    @property
    def changed_ns(self) -> int:
        """When it became what and where it is."""
        return max(self.touched_ns, self.placed_ns)


def models(root: Path, *, nested: bool) -> Iterator[Found]:
    """Every folder with weights: `root`, those in it, and with `nested` those at any depth.

    Folders that cannot be read, weights in formats that nobody reads, and links to models elsewhere are shown with
    their problem. Raises RegistryUnavailable if there is no `root`.
    """
    if not root.is_dir():
        raise RegistryUnavailable(f"{root}: no such folder; make it, or mount what it lies on")
    denied: list[OSError] = []
    placed: dict[Path, int] = {}
    read: set[Path] = set()
    for place, entries in walk(root, on_error=denied.append):
        yield from _told(denied)
        names = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        placed[place] = _placed_ns(place, placed) if place != root else 0
        if any(read_as_weights(final_name(name)) for name in names):
            read.add(place)
            yield from _looked_at(place, placed[place])
        elif (why := why_unread(names)) and read.isdisjoint(place.parents):
            yield from _looked_at(place, placed[place], f"holds no weights that are read: {why}")
        for path in (Path(entry.path) for entry in entries if entry.is_symlink()):
            if why := _linked(path, root):
                yield Found(path, _ctime_ns(path), placed[place], why)
        if not nested and place != root:
            entries.clear()
    yield from _told(denied)


def is_model(path: Path) -> bool:
    """Whether `path` is a folder with weights that are read."""
    try:
        return any(read_as_weights(entry.name) for entry in path.iterdir())
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder, also for what cannot be a path: strangers choose names, too."""
    try:
        return path.is_dir()
    except OSError:  # too long, or on a way that nobody may go
        return False


def _looked_at(path: Path, placed_ns: int, problem: str | None = None) -> Iterator[Found]:
    try:
        yield Found(path, look(path).changed_ns, placed_ns, problem)
    except RegistryError as error:
        if path.exists():  # else it was removed meanwhile
            yield Found(path, _ctime_ns(path), placed_ns, str(error))


def _placed_ns(path: Path, placed: dict[Path, int]) -> int:
    try:
        status = path.stat()
    except OSError:
        return 0
    # What is put into a folder sets both of its times; moving the folder itself sets one.
    own = status.st_ctime_ns if status.st_ctime_ns != status.st_mtime_ns else 0
    return max(own, placed[path.parent])


def _linked(path: Path, root: Path) -> str | None:
    if not is_model(path) or path.resolve().is_relative_to(root):
        return None
    return f"is a link, which is not followed; watch dir:{path.resolve()} as well"


def _told(denied: list[OSError]) -> Iterator[Found]:
    """Takes them off the list; what was removed meanwhile is no news."""
    while denied:
        error = denied.pop()
        path = Path(error.filename)
        if not isinstance(error, FileNotFoundError):
            yield Found(path, _ctime_ns(path), problem=str(unreadable(path, error)))


def _ctime_ns(path: Path) -> int:
    try:
        return path.lstat().st_ctime_ns
    except OSError:
        return 0
