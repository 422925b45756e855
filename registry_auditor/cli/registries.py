"""`registry-auditor registries`: what is watched."""

from __future__ import annotations

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_page

app = typer.Typer(no_args_is_help=True)


@app.callback()
def registries() -> None:
    """What is watched."""


@app.command("list")
def list_(form: options.AsFormat = Format.TEXT, db: options.DB = None) -> None:
    """Registries that were watched: when they were last looked at, and what was wrong.

    Example: registry-auditor registries list
    """
    from registry_auditor.report import records

    with options.stored(db) as store:
        found = store.watched.list()
    print_page(
        (found, None),
        form,
        record=records.watched,
        columns={
            "registry": lambda each: each.registry,
            "last look": lambda each: f"{each.polled_at:%Y-%m-%d %H:%M}" if each.polled_at else "–",
            "last full look": lambda each: f"{each.full_at:%Y-%m-%d %H:%M}" if each.full_at else "–",
            "problem": lambda each: each.problem or "",
        },
        empty="No registry was watched yet. Try: registry-auditor watch --registry dir:FOLDER",
    )
