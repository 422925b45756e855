"""Two audits side by side, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.markup import escape
from rich.table import Table

from registry_auditor.cli.output import console
from registry_auditor.report import words
from registry_auditor.report.compare import Comparison, Turn
from registry_auditor.store import StoredFinding


def print_comparison(found: Comparison) -> None:
    """Print what came, went, stayed and turned; text that comes from a model is shown as it is."""
    for which, audit in (("before", found.before), ("after", found.after)):
        typer.echo(f"{which:<7} {words.model(audit.job.model)}  {audit.verdict or audit.state}  {audit.id}")
    with console(None) as out:
        for title, findings in (("New", found.new), ("Gone", found.gone), ("Unchanged", found.unchanged)):
            out.print(_findings(title, findings) if findings else f"{title}: none.")
        out.print(_turned(found.turned) if found.turned else "No direction turned.")


def _findings(title: str, findings: Sequence[StoredFinding]) -> Table:
    table = _table(f"{title}: {len(findings)}", "severity", "code", "where", "message")
    for each in findings:
        finding = each.finding
        where = "" if finding.site is None else words.place(finding.site)
        table.add_row(*map(escape, (finding.severity, finding.code, where, finding.message)))
    return table


def _turned(turned: Sequence[Turn]) -> Table:
    table = _table(f"Turned: {len(turned)}", "|cos|", "where", "strength before", "after")
    for each in turned:
        strengths = (f"{direction.strength:.3g}" for direction in (each.before, each.after))
        table.add_row(f"{each.cosine:.2f}", escape(words.place(each.before.site)), *strengths)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    return table
