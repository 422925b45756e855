"""A report for the terminal: the summary first, then findings by severity, directions, coverage, runs."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from registry_auditor.domain import Severity, Verdict
from registry_auditor.report import words
from registry_auditor.report.document import Report

VERDICT_STYLE = {
    Verdict.PASS: "bold green",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold red",
    Verdict.INCOMPLETE: "bold yellow",
}
SEVERITY_STYLE = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
    Severity.INFO: "dim",
}
GAPS_SHOWN = 10


def print_report(document: Report, console: Console) -> None:
    """Print `document`; text that comes from a model is shown as it is, never as markup."""
    for part in (*_summary(document), *_findings(document), *_directions(document), *_coverage(document)):
        console.print(part)


def _summary(document: Report) -> Iterator[RenderableType]:
    audit = document.audit
    verdict = audit.verdict
    headline = Text(str(verdict or audit.state).upper(), style=VERDICT_STYLE[verdict] if verdict else "bold")
    yield headline.append(f"  {words.model(audit.job.model)}", style="default")
    yield Text(f"against {words.against(audit)}")
    if audit.reason:
        yield Text(audit.reason)
    yield Text(f"audit {audit.id}", style="dim")
    yield ""


def _findings(document: Report) -> Iterator[RenderableType]:
    if not document.found:
        yield "No findings."
        yield ""
        return
    table = _table("Findings", "severity", "code", "score", "message")
    for each in document.found:
        finding, said = each.finding, words.standing(each.standing)
        severity = Text(
            finding.severity, style=SEVERITY_STYLE[finding.severity] if each.standing.counts else "dim strike"
        )
        message = escape(finding.message) + (f"\n{escape(said)}" if said else "")
        style = None if each.standing.counts else "dim"
        table.add_row(severity, escape(finding.code), words.score(finding), message, style=style)
    yield table
    yield ""


def _directions(document: Report) -> Iterator[RenderableType]:
    if not document.directions:
        return
    count = max(bank.directions for bank in document.banks)
    table = _table(
        f"Strongest of {count} directions, readable ones first",
        "strength",
        "where",
        "side",
        "top tokens",
        "bottom tokens",
        "p",
    )
    for direction in document.directions:
        cells = (escape(cell) for cell in words.tokens(direction.tokens))
        where = f"{words.place(direction.site)} #{direction.rank}"
        table.add_row(f"{direction.strength:.3g}", escape(where), words.verb(direction), *cells)
    yield table
    yield ""


def _coverage(document: Report) -> Iterator[RenderableType]:
    coverage = document.coverage
    yield Text(f"Looked at {coverage.seen} tensors; {len(coverage.skipped) or 'none'} not looked at.")
    for gap in coverage.skipped[:GAPS_SHOWN]:
        yield Text(f"  {gap.tensor}: {gap.why}")
    if len(coverage.skipped) > GAPS_SHOWN:
        yield Text(f"  and {len(coverage.skipped) - GAPS_SHOWN} more; all of them with --format json")
    for stored in document.runs:
        run = stored.run
        reason = f": {run.reason}" if run.reason else ""
        yield Text(f"{run.step.analyzer} v{run.step.version} {run.status} in {run.seconds:.1f} s{reason}", style="dim")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", header_style="dim")
    return table
