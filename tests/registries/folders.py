"""Folders that are models, and what a registry of them shows."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from registry_auditor.registries import FolderRegistry
from registry_auditor.registries.folder import SLACK_NS
from tests.planted import WEIGHTS


def model(folder: Path, *, value: float = 1.0, name: str = WEIGHTS) -> Path:
    """A folder with one tensor, which is a model to a registry."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"model.norm.weight": torch.full((8,), value)}, folder / name)
    return folder


def shown(registry: FolderRegistry, since: str | None = None) -> dict[str, str | None]:
    """Each shown path, relative to the root, and its problem."""
    return {
        Path(change.model.name).relative_to(registry.root).as_posix(): change.problem
        for change in registry.changes(since)
    }


def just_after(folder: Path) -> str:
    """The earliest cursor that shows nothing of what lies in `folder` now."""
    newest_ns = max(path.lstat().st_ctime_ns for path in [folder, *folder.rglob("*")])
    time.sleep(0.02)  # two changes within one tick of the clock bear the same time
    return str(newest_ns + SLACK_NS + 1)
