"""Finished audits as text, JSON and Markdown."""

from registry_auditor.report.document import Report, exit_code, gather
from registry_auditor.report.markdown import markdown
from registry_auditor.report.text import print_report

__all__ = ["Report", "exit_code", "gather", "markdown", "print_report"]
