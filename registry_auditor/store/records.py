"""What the read side returns, beside the nouns of `domain`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from registry_auditor.domain import BaseSource, Finding, ModelRef, Queue, Run, RunStatus, Site, Standing, TokenReadout

T = TypeVar("T")
NOBODY = Standing()


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
    findings: tuple[StoredFinding, ...] = ()
    """Those of `run.findings`, in the same order, with what the store knows of them."""

    @property
    def counting(self) -> Run:
        """The run without the findings that people have set aside."""
        return replace(self.run, findings=tuple(each.finding for each in self.findings if each.standing.counts))


@dataclass(frozen=True)
class StoredFinding:
    """A finding, for which model it was made, and what people think of it."""

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
    standing: Standing = NOBODY


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


@dataclass(frozen=True)
class Watched:
    """How far the changes of a registry have been followed; all None for one that was never polled."""

    registry: str
    """As it was asked for, such as `dir:/models`."""
    cursor: str | None = None
    plan: str | None = None
    """Digest of the plan with which its models were queued."""
    polled_at: datetime | None = None
    full_at: datetime | None = None
    """When all of it was last listed."""
    problem: str | None = None
    """Why the latest poll failed; None if it did not."""


@dataclass(frozen=True)
class Delivery:
    """A webhook that we have accepted."""

    hook: str
    key: str
    """The same delivery, sent again, has the same."""
    target: str | None
    """The model to look at; None for all of the registry."""
    received_at: datetime
    id: int | None = None
    """None until the store has it."""


@dataclass(frozen=True)
class Notice:
    """One finished audit that one target is to hear of."""

    id: str
    """The `webhook-id`: the same at every attempt."""
    target: str
    """The name of the target in the configuration."""
    audit: str
    queued_at: datetime
    due_at: datetime | None
    """When to try next; None once it was sent or given up."""
    attempts: int
    """How often a sender has taken it up."""
    sent_at: datetime | None
    problem: str | None
    """Why the latest attempt failed."""

    @property
    def given_up(self) -> bool:
        """Whether nobody will try again, though it was never sent."""
        return self.due_at is None and self.sent_at is None


@dataclass(frozen=True)
class Backlog:
    """How much there is to do for the workers of one queue."""

    queue: Queue
    waiting: int
    """Those that no worker has; postponed ones too."""
    running: int
    oldest_due_at: datetime | None
    """Since when the first of those that wait could have been taken; None if none could."""


@dataclass(frozen=True)
class RunTotal:
    """All runs of one analyzer version that ended alike."""

    analyzer: str
    version: int
    status: RunStatus
    count: int
    seconds: float
    """Together."""
