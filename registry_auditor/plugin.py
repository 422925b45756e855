"""Everything that the author of an analyzer needs, and the only module that an analyzer imports from the core."""

from registry_auditor.analysis.analyzer import Analyzer, Observation, analyzer
from registry_auditor.analysis.subject import Subject
from registry_auditor.domain import Coverage, Direction, Finding, Gap, Severity, Side, Site, Taxonomy, TokenReadout
from registry_auditor.errors import NotApplicable, TensorError
from registry_auditor.weights import Delta

__all__ = [
    "Analyzer",
    "Coverage",
    "Delta",
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
