"""What several answers hold: the JSON of `registry_auditor.report.records`, described."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from registry_auditor.domain import (
    AuditState,
    BaseSource,
    Justification,
    RunStatus,
    Severity,
    Side,
    TriageState,
    Verdict,
)

T = TypeVar("T")

Reference = Annotated[
    str, Field(description="A registry entry, with `@revision` where one is meant.", examples=["hf:org/tuned@3f2a"])
]
Moment = Annotated[datetime, Field(examples=["2026-03-01T12:00:00+00:00"])]


class Shape(BaseModel):
    """An answer."""

    # Built when first needed: all of them take a tenth of a second, which a start has not.
    model_config = ConfigDict(ser_json_inf_nan="null", defer_build=True)


class Sent(BaseModel):
    """The body of a request; what it may not hold is refused."""

    model_config = ConfigDict(extra="forbid")


class Items(Shape, Generic[T]):
    """A page of a list."""

    items: list[T]
    next: str | None = Field(description="Pass it as `after`; null is the only sign of the end.")


class Fault(Shape):
    """One field that does not fit."""

    field: str = Field(examples=["body.model"])
    problem: str = Field(examples=["Field required"])


class Problem(Shape):
    """What is wrong (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no audit 0199"])
    instance: str | None = Field(None, description="Of an unexpected error: what the log of the server calls it.")
    errors: list[Fault] | None = Field(None, description="Fields that do not fit, for a 422.")


class Content(Shape):
    """A model and the digest of what was read."""

    ref: Reference
    digest: str | None


class Base(Content):
    """A base and who says that it is the base."""

    source: BaseSource | None


class Audit(Shape):
    """One model examined against one base."""

    id: str = Field(examples=["0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"])
    model: Content
    base: Base | None
    state: AuditState
    verdict: Verdict | None = Field(description="null until it is done.")
    reason: str | None = Field(description="Why this verdict, or why it waits.")
    fail_on: Severity
    queued_at: Moment
    started_at: Moment | None
    finished_at: Moment | None


class Place(Shape):
    """Where in a network something is."""

    tensor: str = Field(examples=["model.layers.3.mlp.down_proj.weight"])
    layer: int | None
    role: str = Field(examples=["mlp.down"])
    side: Side | None


class Gap(Shape):
    """Something that was not looked at."""

    tensor: str
    why: str


class Coverage(Shape):
    """What was looked at."""

    seen: int
    skipped: list[Gap]


class Run(Shape):
    """One analyzer on one audit."""

    analyzer: str = Field(examples=["svd-diff"])
    version: int
    params: dict[str, Any]
    status: RunStatus
    reason: str | None
    seconds: float
    device: str
    peak_memory_bytes: int | None
    coverage: Coverage


class Taxonomy(Shape):
    """An entry of a public catalogue."""

    scheme: str
    version: str
    id: str


class Opinion(Shape):
    """What somebody said about a finding."""

    id: str
    state: TriageState
    justification: Justification | None
    owner: str | None
    comment: str | None
    expires_at: Moment | None
    at: Moment
    by: str = Field(examples=["token:ci"])


class Suppression(Shape):
    """A rule that takes findings out of verdicts."""

    id: str
    code: str | None
    model: str | None
    fingerprint: str | None
    reason: str
    owner: str | None
    active: bool
    created_at: Moment
    by: str
    expires_at: Moment
    ended_at: Moment | None
    ended_by: str | None


class Finding(Shape):
    """One observation, and what people think of it."""

    id: str
    fingerprint: str = Field(description="Equal for the same observation in another revision of the model.")
    audit: str = Field(description="The first audit that shows it, among those asked for.")
    model: Reference
    analyzer: str
    created_at: Moment
    code: str = Field(examples=["svd-diff/rank-one-update"])
    severity: Severity
    score: float | None
    threshold: float | None
    fpr: float | None = Field(description="Measured false-positive rate at this score; null: nobody measured it.")
    message: str
    site: Place | None
    evidence: dict[str, Any]
    taxonomies: list[Taxonomy]
    state: TriageState
    counts: bool = Field(description="Whether it counts for verdicts and gates.")
    triage: Opinion | None = Field(description="The latest one that holds.")
    suppression: Suppression | None = Field(description="The rule that covers it and holds longest.")


class Tokens(Shape):
    """What a direction says."""

    top: list[tuple[str, float]]
    bottom: list[tuple[str, float]]
    p_value: float


class Direction(Shape):
    """A direction without its vector, which is row `ordinal` of its bank."""

    bank: str = Field(description="sha256 of the bank file.")
    ordinal: int
    site: Place
    rank: int
    strength: float
    residual: float
    tokens: Tokens | None
    models: list[Reference]


class Counts(Shape):
    """How many findings of each severity."""

    critical: int
    high: int
    medium: int
    low: int
    info: int
