"""A directory tree as a registry: each folder with weights is a model, its name a path, its revision a digest.

A folder inside a model, such as a checkpoint of its training, is part of that model, whose index may name files in it;
if it holds weights it is a model of its own as well. Hidden folders are not looked at, links to folders not followed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError
from registry_auditor.registries.claims import Claim, claimed_base
from registry_auditor.registries.content import check_untouched, content_digest, hold, look, utf8
from registry_auditor.registries.registry import Change
from registry_auditor.registries.tree import Found, is_folder, is_model, models
from registry_auditor.weights import Snapshot, open_snapshot
from registry_auditor.weights.arrival import what_is_missing

MAX_NAME_BYTES = 1024
"""Of a path; no database indexes names without a limit."""
SLACK_NS = 2_000_000_000
"""Cursors go back by it: the clock of a file server may differ from ours, and tick in steps of up to two seconds."""
MAX_SKEW_S = 60.0
"""What was changed later than so far in the future was so by a clock that has been set back, and counts as quiet."""


class FolderRegistry:
    """The models in the folder `root`.

    One that was touched in the last `settle_s` seconds, or is visibly incomplete, is shown with that problem; whatever
    completes it shows it again. Without `nested`, models lie in `root` itself or directly in it.
    """

    def __init__(self, root: Path, *, settle_s: float = 0, nested: bool = True) -> None:
        """Nothing is read yet; `root` need not be there."""
        self.root = root.expanduser().resolve()
        self.settle_s = settle_s
        self.nested = nested
        self._seen: dict[str, list[Path]] | None = None
        """The models at the last look by the last part of their names, so that finding bases takes no look each."""

    @property
    def spec(self) -> str:
        """`dir:/the/root`."""
        return f"dir:{self.root}"

    def changes(self, since: str | None = None) -> Iterator[Change]:
        """Every model that was touched since the cursor, by the time of its last change.

        No cursor is later than the look that it comes from, less the time for which models must be quiet: what was
        not quiet is shown again, and what is incomplete is once it is touched. Raises RegistryUnavailable if the root
        is gone.
        """
        started_ns = time.time_ns()
        floor = int(since) if since and since.isdecimal() else 0
        limit = started_ns - int(self.settle_s * 1e9)
        all_found = sorted(models(self.root, nested=self.nested), key=lambda found: (found.changed_ns, found.path))
        self._seen = _by_last_part(all_found)
        for found in all_found:
            if found.changed_ns >= floor - SLACK_NS:
                yield self._change(found, str(max(floor, min(found.changed_ns, limit))))

    def resolve(self, name: str, revision: str | None = None) -> ModelRef:
        """The model of that path, relative to the root or in it, at the content it has now.

        Raises RegistryError if there is none, it holds no weights, or `revision` is another content than it has.
        """
        path = self._inside(name)
        if path is None or not is_folder(path):
            raise RegistryError(f"{self.spec}: has no folder {utf8(name)}; name a folder in it")
        if not is_model(path):
            look(path)  # says so if that is because it cannot be read
            raise RegistryError(f"{path}: holds no weights; expected model.safetensors, its shards or an adapter")
        return reference(path, revision)

    @contextmanager
    def open(self, ref: ModelRef) -> Iterator[Snapshot]:
        """The weights in the folder of `ref`.

        Raises RegistryError if its content is another by now, WeightsError if they are broken or hostile.
        """
        with hold(Path(ref.name)):
            self.verify(ref)
            with open_snapshot(Path(ref.name)) as snapshot:
                yield snapshot

    def verify(self, ref: ModelRef) -> None:
        """Raise RegistryError if the content of `ref` is another by now, or was for a while since it was opened."""
        reference(Path(ref.name), ref.revision)
        check_untouched(Path(ref.name))

    def claim(self, ref: ModelRef) -> Claim | None:
        """The base that its adapter config, card or config names."""
        return claimed_base(Path(ref.name))

    def find(self, claimed: str, *, of: ModelRef) -> ModelRef | None:
        """The model whose path is `claimed`, else the one whose path ends like it, longest agreement first.

        Among equals the one beside `of` wins. Never `of` itself or what lies in it: a model may not bring along what
        it is compared with. Raises RegistryError if several are left.
        """
        own = Path(of.name) if of.registry == "dir" else None
        wanted = [part for part in claimed.replace("\\", "/").split("/") if part not in ("", ".")]
        exact = self._inside(claimed) if wanted else None
        if exact is not None and exact == own:
            return None
        if exact is not None and is_model(exact) and not _brought_along(exact, own):
            return reference(exact)
        ranked: dict[tuple[int, bool], list[Path]] = {}
        for path in self._called(wanted[-1]) if wanted else ():
            if not _brought_along(path, own):
                beside = own is not None and path.parent == own.parent
                rank = (_agreement(path.relative_to(self.root).parts, wanted), beside)
                ranked.setdefault(rank, []).append(path)
        best = ranked[max(ranked)] if ranked else []
        if len(best) > 1:
            names = ", ".join(sorted(path.relative_to(self.root).as_posix() for path in best))
            raise RegistryError(f"{self.spec}: {claimed} could be each of {names}; choose with --base")
        return reference(best[0]) if best else None

    def holds(self, ref: ModelRef) -> bool:
        """Whether `ref` lies in this registry."""
        return ref.registry == "dir" and Path(ref.name).is_relative_to(self.root)

    def _change(self, found: Found, cursor: str) -> Change:
        name = utf8(str(found.path)).encode()
        unresolved = ModelRef("dir", name[:MAX_NAME_BYTES].decode(errors="ignore"))
        try:
            problem = found.problem or self._unrest(found.path) or _lack(found.path)
            return Change(unresolved if problem else reference(found.path), cursor, problem)
        except RegistryError as error:
            return Change(unresolved, cursor, str(error))

    def _unrest(self, path: Path) -> str | None:
        # Looked at again, since the hashing of those before it may have taken its time.
        quiet_s = time.time() - look(path).changed_ns / 1e9 if self.settle_s else 0
        if quiet_s >= self.settle_s or quiet_s < -MAX_SKEW_S:
            return None
        return f"still being written: quiet for {max(quiet_s, 0):.1f} s of {self.settle_s:g} s"

    def _inside(self, name: str) -> Path | None:
        path = Path(os.path.normpath(self.root / name)) if "\0" not in name else None
        return path if path is not None and path.is_relative_to(self.root) else None

    def _called(self, last: str) -> Iterator[Path]:
        """The models whose path ends with that part."""
        if not self.nested:
            beside = self._inside(last)
            yield from [beside] if beside is not None and beside.parent == self.root and is_model(beside) else []
            return
        seen = _by_last_part(models(self.root, nested=True)) if self._seen is None else self._seen
        yield from filter(is_model, seen.get(last, ()))


def reference(path: Path, revision: str | None = None) -> ModelRef:
    """The folder `path` at the content it has now, as `dir:/absolute/path@sha256:…`.

    Raises RegistryError if it is no folder, a file in it cannot be read, or `revision` is another content.
    """
    path = _resolved(path)
    if not is_folder(path):
        raise RegistryError(f"{utf8(str(path))}: no such folder; pass a folder with weights, or hf:org/name")
    if utf8(str(path)) != str(path):
        raise RegistryError(f"{utf8(str(path))}: the name is no UTF-8; rename it")
    if len(str(path).encode()) > MAX_NAME_BYTES:
        raise RegistryError(f"{str(path)[:80]}…: a path longer than {MAX_NAME_BYTES} bytes; move it, or rename folders")
    digest = content_digest(path)
    if revision is not None and digest != revision:
        raise RegistryError(f"{path}: is no longer {revision}, but {digest}; resolve it again")
    return ModelRef("dir", str(path), digest)


def _by_last_part(found: Iterable[Found]) -> dict[str, list[Path]]:
    seen: dict[str, list[Path]] = {}
    for each in found:
        seen.setdefault(each.path.name, []).append(each.path)
    return seen


def _lack(path: Path) -> str | None:
    missing = what_is_missing(path)
    return f"incomplete: {missing}" if missing else None


def _resolved(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, an unknown ~user, no path at all
        return path


def _brought_along(candidate: Path, own: Path | None) -> bool:
    candidate = candidate.resolve()
    return own is not None and own in (candidate, *candidate.parents)


def _agreement(parts: tuple[str, ...], wanted: list[str]) -> int:
    """How many parts are the same, counted from the end."""
    agree = [one == other for one, other in zip(reversed(parts), reversed(wanted), strict=False)]
    return agree.index(False) if False in agree else len(agree)
