"""Everything that the author of an analyzer needs, and the only module that an analyzer imports from the core."""

from registry_auditor.analysis.analyzer import Analyzer, Observation, analyzer
from registry_auditor.analysis.subject import Subject
from registry_auditor.domain import Coverage, Direction, Finding, Gap, Severity, Side, Site, Taxonomy, TokenReadout
from registry_auditor.errors import NotApplicable, TensorError

__all__ = [
    "Analyzer",
    "Coverage",
    "Direction",
    "Finding",
    "Gap",
    "NotApplicable",
    "Observation",
    "Severity",
    "Side",
    "Site",
    "Subject",
    "Taxonomy",
    "TensorError",
    "TokenReadout",
    "analyzer",
]
