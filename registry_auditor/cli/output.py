"""Results go to stdout, or to a file; everything else to stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from registry_auditor.cli.options import Format, ReportFormat
from registry_auditor.errors import AuditorError

if TYPE_CHECKING:
    from rich.console import Console

    from registry_auditor.report import Report
    from registry_auditor.store.catalogue import AnalyzerInfo

T = TypeVar("T")
WIDTH = 140
"""Of text that does not go to a terminal."""
REST = 80
"""What the other columns of a table have at least, however long the names in the first one are."""


def print_json(value: Any) -> None:
    """`value` as indented JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_page(
    page: tuple[Sequence[T], str | None],
    form: Format,
    *,
    record: Callable[[T], dict[str, Any]],
    columns: dict[str, Callable[[T], str]],
    empty: str,
) -> None:
    """A page of a list: as `{items, next}`, or as a table with a hint how to see more."""
    items, after = page
    if form is Format.JSON:
        from registry_auditor.report import records

        print_json(records.listing([record(item) for item in items], after))
        return
    if not items:
        typer.echo(empty)
        return
    from rich.cells import cell_len
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(columns):
        # The first column is what is copied into the next command: it must stay in one piece.
        table.add_column(name, header_style="dim", overflow="fold", no_wrap=number == 0)
    rows = [[cell(item) for cell in columns.values()] for item in items]
    for row in rows:
        table.add_row(*map(escape, row))
    with console(None) as out:
        out.width = max(out.width, REST + max(cell_len(row[0]) for row in rows))
        out.print(table)
    if after:
        typer.echo(f"There is more: --after {after}", err=True)


def print_report(
    document: Report,
    form: ReportFormat,
    output: Path | None,
    *,
    analyzers: Sequence[AnalyzerInfo] = (),
    before: Report | None = None,
) -> None:
    """A report in one of its formats; see `report.render`. Raises AuditorError if the file cannot be written."""
    from registry_auditor import report

    if form is ReportFormat.TEXT:
        from registry_auditor.report.text import print_report as print_text

        with console(output) as out:
            print_text(document, out)
        return
    text = report.render(document, report.ReportFormat(form.value), analyzers, before=before)
    with console(output) as out:
        out.file.write(text)


@contextmanager
def console(output: Path | None) -> Iterator[Console]:
    """A console on stdout or on the file `output`, as wide as the terminal or WIDTH where there is none."""
    from rich.console import Console

    if output is None:
        out = Console(highlight=False)
        if not out.is_terminal:
            out = Console(highlight=False, width=WIDTH)
        yield out
        return
    try:
        with output.open("w", encoding="utf-8") as file:
            yield Console(file=file, highlight=False, width=WIDTH)
    except OSError as error:
        raise AuditorError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error
