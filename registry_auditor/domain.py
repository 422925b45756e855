"""The nouns of the product: frozen records and enums, with no behaviour beyond their own arithmetic.

Imports the standard library and numpy only, so that every layer may speak in these words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt


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


class Verdict(StrEnum):
    """What a deploy gate may conclude from a finished audit."""

    PASS = "pass"
    FAIL = "fail"
    INCOMPLETE = "incomplete"
    ERROR = "error"


class AuditState(StrEnum):
    """Where an audit is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class RunStatus(StrEnum):
    """How one analyzer ended on one audit."""

    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"
    TIMED_OUT = "timed_out"


class Queue(StrEnum):
    """Which workers can do an audit."""

    CPU = "cpu"
    GPU = "gpu"


class BaseSource(StrEnum):
    """Who says that this is the base."""

    CARD = "card"
    ADAPTER = "adapter"
    CONFIG = "config"
    OPERATOR = "operator"
    MEASURED = "measured"


class Side(StrEnum):
    """How a matrix touches the residual stream."""

    WRITES = "writes"
    """Its output is added to the stream: the left singular vectors U live there."""
    READS = "reads"
    """Its input is the (normalised) stream: the right singular vectors V live there."""


@dataclass(frozen=True)
class ModelRef:
    """One immutable revision of one registry entry, printed as `dir:/models/x@sha256:…` or `hf:org/name@3f2a…`."""

    registry: str
    name: str
    revision: str | None = None
    """A full commit or content digest; None only until the registry has resolved it."""

    def __str__(self) -> str:
        return f"{self.registry}:{self.name}" + (f"@{self.revision}" if self.revision else "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`. Raises ValueError if `text` has no `registry:` prefix."""
        registry, colon, rest = text.partition(":")
        if not colon or not registry or not rest:
            raise ValueError(f"{text!r} is not a model reference such as dir:/models/x or hf:org/name@revision")
        name, at, revision = rest.rpartition("@")
        return cls(registry, name, revision) if at and name else cls(registry, rest)


@dataclass(frozen=True)
class Site:
    """Where in a network something is: `model.layers.3.mlp.down_proj.weight`, layer 3, role `mlp.down`, writes."""

    tensor: str
    """Name in the checkpoint; a part of a fused or stacked tensor carries it in brackets: `…qkv_proj.weight[q]`."""
    layer: int | None = None
    role: str = "other"
    side: Side | None = None
    """None for what neither reads nor writes the residual stream."""

    def __str__(self) -> str:
        if self.layer is None:
            return self.tensor if self.role == "other" else self.role
        return f"layer {self.layer} {self.role}"


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
class TokenReadout:
    """What a direction says, read through the unembedding (writes) or the embedding (reads)."""

    top: tuple[tuple[str, float], ...]
    """Readable tokens with the largest scores, in standard deviations of a random direction, largest first."""
    bottom: tuple[tuple[str, float], ...]
    """The same for the smallest, smallest first."""
    p_value: float
    """Chance that a random direction of the same norm reads at least as clearly, 0..1."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit direction of the residual stream in which the fine-tuning moved a matrix."""

    site: Site
    rank: int
    """0 is the strongest direction of its matrix."""
    strength: float
    """The singular value of the weight update."""
    residual: float
    """Proved bound ‖ΔW v − σ u‖ / σ."""
    vector: npt.NDArray[np.float32]
    """Unit norm; its largest-magnitude entry is positive."""
    tokens: TokenReadout | None = None


@dataclass(frozen=True)
class SubjectKey:
    """What was examined: content digests of the tuned model and of its base (None: without a base)."""

    model: str
    base: str | None


@dataclass(frozen=True)
class StepKey:
    """What examined it: bump `version` and only this analyzer runs again."""

    analyzer: str
    version: int
    params: str
    """Digest of the resolved parameters."""


@dataclass(frozen=True)
class Run:
    """One analyzer on one subject: what it found, what it cost and what it looked at."""

    step: StepKey
    subject: SubjectKey
    params: Mapping[str, Any]
    status: RunStatus
    reason: str | None
    """Why it is not `ok`; None when it is."""
    seconds: float
    device: str
    peak_memory_bytes: int | None
    coverage: Coverage
    findings: tuple[Finding, ...] = ()
    directions: tuple[Direction, ...] = ()


@dataclass(frozen=True)
class Job:
    """What somebody asked for: this model, against this base, judged at this severity."""

    model: ModelRef
    base: ModelRef | None = None
    base_source: BaseSource | None = None
    fail_on: Severity = Severity.HIGH
    plan: tuple[StepKey, ...] = ()
    queue: Queue = Queue.CPU
    wish: Mapping[str, Mapping[str, Any]] | None = None
    """Which analyzers somebody asked for by name, with parameters of their own; None: as the settings say.

    Such a job may come without revisions, base and plan: the worker that takes it up finds them out.
    """


@dataclass(frozen=True)
class Audit:
    """A job in the queue of record, and what became of it."""

    id: str
    job: Job
    state: AuditState
    verdict: Verdict | None
    reason: str | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    claims: int
    """How often a worker has taken it up."""
    holder: str | None
    """The worker that holds, or last held, the lease."""
    lease_expires_at: datetime | None
    subject: SubjectKey | None = None
    """What was read; None until a worker has opened the model."""


def canonical_json(value: Any) -> str:
    """`value` as JSON that is equal whenever the values are: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Any) -> str:
    """sha256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def total(coverages: Iterable[Coverage]) -> Coverage:
    """All of `coverages` added up."""
    return sum(coverages, Coverage())
