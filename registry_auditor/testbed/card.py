"""What is known about a network, as the file `truth.json` of its folder, which is written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD = "truth.json"
CARD_VERSION = "2"


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Finish `folder`: the card also names every other file by its sha256."""
    complete = {"schema_version": CARD_VERSION, **content, "files": _digests(folder)}
    (folder / CARD).write_text(json.dumps(complete, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """The card of a finished folder; empty where there is none, or none that can be read."""
    try:
        content = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_finished(folder: Path, digest: str) -> bool:
    """Whether `folder` holds the network called `digest`, with no file missing or damaged."""
    known = read(folder)
    mine = known.get("schema_version") == CARD_VERSION and known.get("digest") == digest
    return mine and bool(known.get("files") == _digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CARD)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
