"""What was audited, model by model: the records of lists, lineage and the overview."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from registry_auditor.domain import Audit, BaseSource, ModelRef, Severity, Verdict
from registry_auditor.errors import NotFound


def model_id(ref: ModelRef) -> str:
    """The id of a registry entry, whatever its revision: its name in base64url, fit for an address."""
    return base64.urlsafe_b64encode(f"{ref.registry}:{ref.name}".encode()).decode().rstrip("=")


def entry_of(model: str) -> ModelRef:
    """The registry entry of an id, without a revision. Raises NotFound if it is no id of a model."""
    try:
        text = base64.b64decode(model + "=" * (-len(model) % 4), altchars=b"-_", validate=True).decode()
        registry, colon, name = text.partition(":")
    except (binascii.Error, ValueError):
        registry, colon, name = "", "", ""
    if not (registry and colon and name):
        raise NotFound(f"there is no model {model[:200]!r}: `registry-auditor models list` shows all")
    return ModelRef(registry, name)


@dataclass(frozen=True)
class ModelSummary:
    """A registry entry and how its newest audited revision stands."""

    id: str
    ref: ModelRef
    """Without a revision."""
    revisions: int
    """How many are known, audited or not."""
    audit: Audit | None
    """The newest finished audit of any revision, else the newest one; None if there is none."""
    counts: Mapping[Severity, int] = field(default_factory=dict)
    """Of the findings that this audit shows, dismissed ones included."""
    last_seen_at: datetime | None = None

    @property
    def worst(self) -> Severity | None:
        """Of its findings."""
        return max(self.counts, key=lambda severity: severity.weight, default=None)


@dataclass(frozen=True)
class Revision:
    """One revision of a registry entry."""

    ref: ModelRef
    digest: str | None
    """Of the content, once a worker has read it."""
    audit: Audit | None
    """The newest audit of it."""
    counts: Mapping[Severity, int]
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    base: ModelRef | None
    """That was claimed or measured."""
    base_source: BaseSource | None
    skipped: str | None
    """Why it is not audited."""


@dataclass(frozen=True)
class Descent:
    """One edge of the lineage graph: somebody says that `model` was made from `base`."""

    model: ModelRef
    """Without a revision, as is `base`."""
    base: ModelRef
    source: BaseSource | None
    verdict: Verdict | None
    """Of the newest finished audit of `model`."""


@dataclass(frozen=True)
class AnalyzerInfo:
    """An analyzer as an installation that audits has it; the web application never imports its code."""

    name: str
    version: int
    """0 for one that cannot be loaded."""
    needs: tuple[str, ...]
    summary: str
    manual: str
    schema: Mapping[str, Any]
    """JSON Schema of its parameters."""
    seen_at: datetime | None = None
    """When an installation last showed it; set by the store."""
