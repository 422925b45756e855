"""Every format that a report can be written in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from registry_auditor.report import records
from registry_auditor.report.document import Report
from registry_auditor.report.markdown import markdown
from registry_auditor.store.catalogue import AnalyzerInfo


class ReportFormat(StrEnum):
    """How a report is written to a file or an answer."""

    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    SARIF = "sarif"
    CYCLONEDX = "cyclonedx"


MEDIA_TYPES: Mapping[ReportFormat, str] = {
    ReportFormat.JSON: "application/json",
    ReportFormat.MARKDOWN: "text/markdown; charset=utf-8",
    ReportFormat.HTML: "text/html; charset=utf-8",
    ReportFormat.SARIF: "application/sarif+json",
    ReportFormat.CYCLONEDX: "application/vnd.cyclonedx+json; version=1.6",
}
SUFFIXES: Mapping[ReportFormat, str] = {
    ReportFormat.JSON: ".json",
    ReportFormat.MARKDOWN: ".md",
    ReportFormat.HTML: ".html",
    ReportFormat.SARIF: ".sarif",
    ReportFormat.CYCLONEDX: ".cdx.json",
}
"""By which tools know a file."""


def render(
    document: Report, form: ReportFormat, analyzers: Sequence[AnalyzerInfo] = (), *, before: Report | None = None
) -> str:
    """The report in one format, ending in a line end.

    Args:
        document: what to report.
        form: how.
        analyzers: whose manual pages explain the rules of SARIF.
        before: an earlier audit of the same model, with which SARIF compares.
    """
    return _WRITERS[form](document, analyzers, before)


_Writer = Callable[[Report, Sequence[AnalyzerInfo], Report | None], str]


def _json(document: Report, _: Sequence[AnalyzerInfo], __: Report | None) -> str:
    return _dumped(records.report(document))


def _markdown(document: Report, _: Sequence[AnalyzerInfo], __: Report | None) -> str:
    return markdown(document)


def _html(document: Report, _: Sequence[AnalyzerInfo], __: Report | None) -> str:
    from registry_auditor.report.html import html

    return html(document)


def _sarif(document: Report, analyzers: Sequence[AnalyzerInfo], before: Report | None) -> str:
    from registry_auditor.report.sarif import sarif

    return _dumped(sarif(document, analyzers, before=before))


def _cyclonedx(document: Report, _: Sequence[AnalyzerInfo], __: Report | None) -> str:
    from registry_auditor.report.cyclonedx import cyclonedx  # whose library takes a while to load

    return _dumped(cyclonedx(document))


def _dumped(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


_WRITERS: Mapping[ReportFormat, _Writer] = {
    ReportFormat.JSON: _json,
    ReportFormat.MARKDOWN: _markdown,
    ReportFormat.HTML: _html,
    ReportFormat.SARIF: _sarif,
    ReportFormat.CYCLONEDX: _cyclonedx,
}
