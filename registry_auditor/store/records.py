"""What the read side returns, beside the nouns of `domain`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from registry_auditor.domain import BaseSource, Finding, ModelRef, Run, Site, TokenReadout

T = TypeVar("T")


class Page(NamedTuple, Generic[T]):
    """Some items of a list, and how to ask for those after them."""

    items: tuple[T, ...]
    next: str | None
    """Pass it as `after`; None is the only sign of the end."""


@dataclass(frozen=True)
class BankInfo:
    """A bank as its run's entry in a report shows it."""

    sha256: str
    analyzer: str
    directions: int
    basis: str
    """Digest of the base; the base's reference where only that is known; '' without a base."""
    dimension: int


@dataclass(frozen=True)
class StoredRun:
    """A run that an audit shows: its findings in the order they were yielded, its directions as banks."""

    id: str
    run: Run
    """`directions` is empty: ask for `Store.directions` or `Store.vectors`."""
    banks: tuple[BankInfo, ...]


@dataclass(frozen=True)
class StoredFinding:
    """A finding, and for which model it was made."""

    id: str
    fingerprint: str
    """Equal for the same observation in another revision of the model."""
    audit: str
    """The first audit that shows it, among those asked for."""
    model: ModelRef
    """The model of that audit."""
    analyzer: str
    finding: Finding
    created_at: datetime


@dataclass(frozen=True)
class StoredDirection:
    """A direction without its vector, which is row `ordinal` of `Store.vectors(bank)`."""

    bank: str
    ordinal: int
    site: Site
    rank: int
    strength: float
    residual: float
    tokens: TokenReadout | None
    models: tuple[ModelRef, ...]
    """Every model, among those asked for, with a run that found it."""


@dataclass(frozen=True)
class Sighting:
    """A registry showed us a model: what it says its base is, or why it is not audited."""

    model: ModelRef
    """Without a revision if none could be had."""
    base: ModelRef | None
    base_source: BaseSource | None
    skipped: str | None
    """Why no audit follows from it; None if one does."""
    registry: str | None
    """The watched registry that showed it, such as `dir:/models`; None for what a person asked for."""
    first_seen_at: datetime
    last_seen_at: datetime
