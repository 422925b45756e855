"""Which base a model says it has, and where it says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from registry_auditor.domain import BaseSource
from registry_auditor.errors import WeightsError
from registry_auditor.weights.folder import inside, printable, read_object

MAX_CARD_BYTES = 2**20


@dataclass(frozen=True)
class Claim:
    """A base by the name that the model gives it."""

    name: str
    source: BaseSource
    revision: str | None = None
    """The branch, tag or commit that an adapter was trained on, if it says so."""


def claimed_base(folder: Path) -> Claim | None:
    """The base that the adapter config, the card or the config of a model names, in this order; None if none does.

    `folder` may hold nothing but these: adapter_config.json, README.md, config.json.

    Raises WeightsError for files that are too large, broken or lead out of the folder.
    """
    return next(_claims(folder), None)


def _claims(folder: Path) -> Iterator[Claim]:
    adapter = read_object(folder, "adapter_config.json") or {}
    config = read_object(folder, "config.json") or {}
    candidates = (
        (adapter.get("base_model_name_or_path"), BaseSource.ADAPTER),
        (_card(folder).get("base_model"), BaseSource.CARD),
        (config.get("_name_or_path"), BaseSource.CONFIG),
    )
    for name, source in candidates:
        # A merge names several parents; which of them to subtract is the operator's choice.
        only = name[0] if isinstance(name, list) and len(name) == 1 else name
        if isinstance(only, str) and only.strip():
            revision = adapter.get("revision") if source is BaseSource.ADAPTER else None
            yield Claim(printable(only.strip()), source, _pinned(revision))


def _pinned(revision: object) -> str | None:
    return printable(revision.strip()) if isinstance(revision, str) and revision.strip() else None


def _card(folder: Path) -> dict[str, Any]:
    """The YAML front matter of README.md; nothing if there is none."""
    if not (folder / "README.md").exists():
        return {}
    path = inside(folder, "README.md")
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(MAX_CARD_BYTES)
    if not text.startswith("---"):
        return {}
    front, end, _ = text[3:].partition("\n---")
    try:
        card = yaml.safe_load(front) if end else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: the 99th of a month
        problem = getattr(error, "problem", None) or error
        raise WeightsError(f"{path}: the YAML at its head is broken ({problem}); mend it or pass --base") from error
    return card if isinstance(card, dict) else {}
