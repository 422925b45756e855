"""What analyzers see, and what they did not look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from registry_auditor.domain.models import Site


class Severity(StrEnum):
    """How much harm a finding would mean if it is true. Belief is `Finding.fpr`; the two are never mixed."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def weight(self) -> int:
        """0 for info up to 4 for critical, so that severities can be compared."""
        return list(reversed(Severity)).index(self)

    def at_least(self, other: Severity) -> bool:
        """Whether this is as bad as `other`, or worse."""
        return self.weight >= other.weight


@dataclass(frozen=True)
class Taxonomy:
    """A reference into a public catalogue; the version is part of it, since catalogues renumber."""

    scheme: str
    version: str
    id: str


@dataclass(frozen=True)
class Finding:
    """One observation about one model."""

    code: str
    """`<analyzer>/<what-was-seen>`, stable for ever."""
    severity: Severity
    message: str
    score: float | None = None
    threshold: float | None = None
    """What the score was compared with."""
    fpr: float | None = None
    """Measured false-positive rate at this score, 0..1; None means nobody has measured it."""
    site: Site | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """JSON: what a person would need to check the claim."""
    taxonomies: tuple[Taxonomy, ...] = ()


@dataclass(frozen=True)
class Gap:
    """A tensor or file that nobody looked at, and why."""

    tensor: str
    why: str


@dataclass(frozen=True)
class Coverage:
    """Which tensors were looked at, how many, and which were not."""

    seen: int = 0
    skipped: tuple[Gap, ...] = ()

    def __add__(self, other: Coverage) -> Coverage:
        gaps = dict.fromkeys(self.skipped + other.skipped)  # a set that keeps its order
        return Coverage(self.seen + other.seen, tuple(gaps))


def total(coverages: Iterable[Coverage]) -> Coverage:
    """All of `coverages` added up."""
    return sum(coverages, Coverage())


class FindingOrder(StrEnum):
    """What a list of findings is sorted by; what is equal in that, by age."""

    NEWEST = "newest"
    SEVERITY = "severity"
    """The most severe first."""
    SCORE = "score"
    """The largest first, those without one last."""
    FPR = "fpr"
    """The most certain first, the oldest of equal ones first, those that nobody has measured last."""
