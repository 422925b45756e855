"""What the small Hub keeps, and how the real one describes it in JSON."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Json = dict[str, Any]
STORED = (".safetensors", ".bin", ".gguf", ".pt", ".model")
"""Kept with Git LFS, which is where redirects lead to."""
STORED_BYTES = 2**20


@dataclass(frozen=True)
class File:
    """One file of a commit."""

    content: Path
    size: int
    sha256: str
    blob: str
    stored: bool
    """With Git LFS."""

    def as_sibling(self, path: str) -> Json:
        """Among the facts of a model."""
        told: Json = {"rfilename": path, "size": self.size, "blobId": self.blob}
        if self.stored:
            told["lfs"] = {"size": self.size, "sha256": self.sha256, "pointerSize": 134}
        return told

    def as_leaf(self, path: str) -> Json:
        """Of a tree."""
        told: Json = {"type": "file", "path": path, "size": self.size, "oid": self.blob}
        if self.stored:
            told["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return told


@dataclass
class Repo:
    """A model: its commits, and who may see it."""

    name: str
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    head: str = ""
    modified: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    gated: str | bool = False
    admitted: frozenset[str] = frozenset()
    private: bool = False
    disabled: bool = False

    @property
    def tags(self) -> list[str]:
        """Those that the Hub derives from the card."""
        card = self.commits[self.head].get("README.md")
        lines = card.content.read_text(encoding="utf-8").splitlines() if card else []
        named = dict(line.split(": ", 1) for line in lines if line.startswith("base_model"))
        if "base_model" not in named:
            return []
        kind = "adapter" if "adapter_config.json" in self.commits[self.head] else "finetune"
        base = named["base_model"]
        return [f"base_model:{base}", f"base_model:{named.get('base_model_relation', kind)}:{base}"]

    def commit(self, revision: str) -> str | None:
        """The commit that a branch, or the beginning of a commit, stands for."""
        if revision in self.refs:
            return self.refs[revision]
        return next((commit for commit in self.commits if len(revision) > 6 and commit.startswith(revision)), None)

    def facts(self, commit: str, expand: list[str] | None) -> Json:
        """What the Hub tells; nothing but `expand` if that is given."""
        facts = {
            "author": self.name.partition("/")[0],
            "sha": commit,
            "lastModified": self.modified.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "gated": self.gated,
            "disabled": self.disabled,
            "private": self.private,
            "tags": self.tags,
            "siblings": [{"rfilename": path} for path in self.commits[commit]],
        }
        shown = facts if expand is None else {key: facts[key] for key in expand}
        return {"_id": self.name, "id": self.name, **shown}


def kept(path: Path, store: Path) -> File:
    """The file at `path`, copied into `store` unless its content is there."""
    size = path.stat().st_size
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if not (store / sha256).exists():
        shutil.copyfile(path, store / sha256)
    stored = path.suffix in STORED or size >= STORED_BYTES
    content = b"" if stored else path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False).hexdigest()
    return File(store / sha256, size, sha256, blob, stored)


def claiming(base: Path, folder: Path, card: str) -> Path:
    """A copy of `base` in `folder` whose card has those lines at its head."""
    shutil.copytree(base, folder)
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    return folder
