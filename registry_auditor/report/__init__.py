"""Finished audits in every format, and what may be concluded from them."""

from registry_auditor.report.document import Report, coverage, exit_code, gather
from registry_auditor.report.formats import MEDIA_TYPES, SUFFIXES, ReportFormat, render
from registry_auditor.report.markdown import markdown
from registry_auditor.report.text import print_report

__all__ = [
    "MEDIA_TYPES",
    "SUFFIXES",
    "Report",
    "ReportFormat",
    "coverage",
    "exit_code",
    "gather",
    "markdown",
    "print_report",
    "render",
]
