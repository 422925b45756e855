"""Files that lie elsewhere and are handed out in parts, as registries do."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from registry_auditor.weights.remote import RemoteFile
from tests.planted import WEIGHTS


@dataclass(frozen=True)
class Elsewhere:
    """A file that is handed out in parts, as a registry would, and what was asked for."""

    path: Path
    parts: Path = field(compare=False)
    asked: list[tuple[int, int]] = field(default_factory=list, compare=False)
    claimed_bytes: int | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.claimed_bytes is None else self.claimed_bytes

    def fetch(self, start: int, stop: int) -> tuple[Path, int]:
        part = self.parts / f"{self.name}-{start}-{stop}"
        if not part.exists():
            self.asked.append((start, stop))
            self.parts.mkdir(exist_ok=True)
            with self.path.open("rb") as file:
                file.seek(start)
                part.write_bytes(file.read(stop - start))
        return part, 0

    def whole(self) -> Path:
        self.asked.append((0, self.size_bytes))
        return self.path

    @property
    def travelled(self) -> int:
        return sum(stop - start for start, stop in self.asked)


def elsewhere(tmp_path: Path, tensors: dict[str, Tensor], name: str = WEIGHTS) -> Elsewhere:
    save_file(tensors, tmp_path / name, metadata={"format": "pt"})
    return Elsewhere(tmp_path / name, tmp_path / "parts")


def described(folder: Path, home: Path) -> dict[str, RemoteFile]:
    """The weights of `folder` elsewhere, everything else copied to `home`."""
    home.mkdir()
    remote: dict[str, RemoteFile] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".safetensors", ".bin", ".gguf"):
            remote[name] = Elsewhere(path, home.parent / f"parts of {name.replace('/', ' ')}")
        elif path.is_file():
            shutil.copyfile(path, home / name)
    return remote
