"""Finished audits in every format; what prints to a terminal is `text`, which web servers need not load."""

from registry_auditor.report.document import Report, coverage, exit_code, gather
from registry_auditor.report.formats import MEDIA_TYPES, SUFFIXES, ReportFormat, render
from registry_auditor.report.markdown import markdown

__all__ = [
    "MEDIA_TYPES",
    "SUFFIXES",
    "Report",
    "ReportFormat",
    "coverage",
    "exit_code",
    "gather",
    "markdown",
    "render",
]
