"""What people say about findings: triage and suppressions, who said it, and until when it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from registry_auditor.domain.models import ModelRef


class TriageState(StrEnum):
    """What a person thinks of a finding, in the words of CycloneDX and Dependency-Track."""

    NOT_SET = "not_set"
    IN_TRIAGE = "in_triage"
    EXPLOITABLE = "exploitable"
    FALSE_POSITIVE = "false_positive"
    NOT_AFFECTED = "not_affected"
    RESOLVED = "resolved"

    @property
    def dismisses(self) -> bool:
        """Whether a finding in this state no longer counts for verdicts and gates."""
        return self in (TriageState.FALSE_POSITIVE, TriageState.NOT_AFFECTED, TriageState.RESOLVED)


class Justification(StrEnum):
    """Why a model is not affected by what was found. Source: CycloneDX 1.7, `impactAnalysisJustification`."""

    CODE_NOT_PRESENT = "code_not_present"
    CODE_NOT_REACHABLE = "code_not_reachable"
    REQUIRES_CONFIGURATION = "requires_configuration"
    REQUIRES_DEPENDENCY = "requires_dependency"
    REQUIRES_ENVIRONMENT = "requires_environment"
    PROTECTED_BY_COMPILER = "protected_by_compiler"
    PROTECTED_AT_RUNTIME = "protected_at_runtime"
    PROTECTED_AT_PERIMETER = "protected_at_perimeter"
    PROTECTED_BY_MITIGATING_CONTROL = "protected_by_mitigating_control"


@dataclass(frozen=True)
class Triage:
    """What somebody says about a finding."""

    state: TriageState
    justification: Justification | None = None
    """Required for `not_affected`, and for nothing else."""
    owner: str | None = None
    """Who takes care of it."""
    comment: str | None = None
    """Required for `false_positive`."""
    expires_at: datetime | None = None
    """From then on the finding counts as `not_set` again."""


@dataclass(frozen=True)
class Opinion:
    """A triage as it was said; the latest about a fingerprint is the one that holds."""

    id: str
    fingerprint: str
    triage: Triage
    at: datetime
    by: str


@dataclass(frozen=True)
class Suppression:
    """A rule that takes findings out of verdicts and gates until it expires; every pattern that it has must fit."""

    id: str
    code: str | None
    """A glob: `svd-diff/*`."""
    model: str | None
    """A glob, with or without revision: `hf:org/*`."""
    fingerprint: str | None
    """Exactly this finding, in whichever revision of its model."""
    reason: str
    owner: str | None
    created_at: datetime
    by: str
    expires_at: datetime
    ended_at: datetime | None
    """When somebody took it back before it expired."""
    ended_by: str | None

    def is_active(self, now: datetime) -> bool:
        """Whether it holds at `now`."""
        return self.ended_at is None and now < self.expires_at


@dataclass(frozen=True)
class Standing:
    """Where a finding stands among people at the moment of asking."""

    opinion: Opinion | None = None
    """The latest triage, if it has not expired."""
    suppression: Suppression | None = None
    """The active suppression that covers it and holds longest."""

    @property
    def state(self) -> TriageState:
        """The triage state."""
        return TriageState.NOT_SET if self.opinion is None else self.opinion.triage.state

    @property
    def counts(self) -> bool:
        """Whether the finding counts for verdicts and gates."""
        return self.suppression is None and not self.state.dismisses


class EventKind(StrEnum):
    """What can happen to a finding."""

    FOUND = "found"
    """An audit shows it."""
    GONE = "gone"
    """A later audit of the model, in which its analyzer finished, does not."""
    TRIAGED = "triaged"
    EXPIRED = "expired"
    """A triage or suppression ran out."""
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"


@dataclass(frozen=True)
class FindingEvent:
    """One step in the life of a finding."""

    at: datetime
    kind: EventKind
    by: str | None = None
    """Who did it; None for what audits and the clock do."""
    audit: str | None = None
    model: ModelRef | None = None
    """The revision that the audit examined."""
    opinion: Opinion | None = None
    suppression: Suppression | None = None
