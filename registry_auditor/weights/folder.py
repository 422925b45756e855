"""A folder of strangers' files: what may be opened in it, and what its JSON says."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from registry_auditor.errors import Unfinished, WeightsError

MAX_CONFIG_BYTES = 16 * 2**20
MAX_INDEX_BYTES = 128 * 2**20


def inside(folder: Path, name: str) -> Path:
    """The regular file `name` of `folder`.

    Links may lead elsewhere in the folder or, as in the cache of the Hugging Face hub, elsewhere in the
    `models--…` folder of the same repository. Raises WeightsError for anything that leaves them, is missing
    or is no regular file.
    """
    pure = Path(name)
    if pure.is_absolute() or ".." in pure.parts or not name or "\0" in name or len(name) > 1024:
        raise WeightsError(f"{folder}: {name[:200]!r} leads out of the folder; do not load this model")
    try:
        target = (folder / pure).resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{folder}: {name} is missing or cannot be opened; download the model again") from error
    if not any(target.is_relative_to(root) for root in _roots(folder)):
        raise WeightsError(f"{folder}: {name} is a link that leads out of the folder; do not load this model")
    if not stat.S_ISREG(mode):
        raise WeightsError(f"{folder}: {name} is no regular file; do not load this model")
    return folder / pure


def printable(name: str) -> str:
    """`name` as a terminal may show it; strangers choose file names, too."""
    return name if name.isprintable() else ascii(name)


def _roots(folder: Path) -> list[Path]:
    resolved = folder.resolve()
    roots = [resolved]
    if resolved.parent.name == "snapshots" and resolved.parent.parent.name.startswith("models--"):
        roots.append(resolved.parent.parent)
    return roots


def read_object(folder: Path, name: str, *, max_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any] | None:
    """The JSON object in the file `name` of `folder`, None if there is no such file.

    Raises Unfinished if it is not JSON, WeightsError if it is larger than `max_bytes` or no object.
    """
    if not (folder / name).is_symlink() and not (folder / name).exists():
        return None
    path = inside(folder, name)
    with path.open("rb") as file:
        text = file.read(max_bytes + 1)
    if len(text) > max_bytes:
        raise WeightsError(f"{path}: larger than {max_bytes} bytes; do not load this model")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise Unfinished(f"{path}: is not valid JSON ({error}); download it again") from error
    except RecursionError as error:
        raise WeightsError(f"{path}: is not valid JSON ({error}); do not load this model") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: is no JSON object; download it again")
    return content
