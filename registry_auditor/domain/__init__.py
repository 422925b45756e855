"""The nouns of the product: frozen records and enums, with no behaviour beyond their own arithmetic.

Imports the standard library and numpy only, so that every layer may speak in these words.
"""

from registry_auditor.domain.access import Author, Scope, Token, Written
from registry_auditor.domain.audits import (
    Audit,
    AuditState,
    BaseSource,
    Job,
    NoticeState,
    Queue,
    Run,
    RunStatus,
    StepKey,
    SubjectKey,
    Verdict,
)
from registry_auditor.domain.digests import canonical_json, digest_of
from registry_auditor.domain.directions import Direction, TokenReadout
from registry_auditor.domain.findings import Coverage, Finding, FindingOrder, Gap, Severity, Taxonomy, total
from registry_auditor.domain.models import ModelRef, Side, Site
from registry_auditor.domain.opinions import (
    EventKind,
    FindingEvent,
    Justification,
    Opinion,
    Standing,
    Suppression,
    Triage,
    TriageState,
)

__all__ = [
    "Audit",
    "AuditState",
    "Author",
    "BaseSource",
    "Coverage",
    "Direction",
    "EventKind",
    "Finding",
    "FindingEvent",
    "FindingOrder",
    "Gap",
    "Job",
    "Justification",
    "ModelRef",
    "NoticeState",
    "Opinion",
    "Queue",
    "Run",
    "RunStatus",
    "Scope",
    "Severity",
    "Side",
    "Site",
    "Standing",
    "StepKey",
    "SubjectKey",
    "Suppression",
    "Taxonomy",
    "Token",
    "TokenReadout",
    "Triage",
    "TriageState",
    "Verdict",
    "Written",
    "canonical_json",
    "digest_of",
    "total",
]
