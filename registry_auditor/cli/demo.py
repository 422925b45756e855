"""`registry-auditor demo`: the newcomer's first command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.audit import perform
from registry_auditor.cli.options import ReportFormat
from registry_auditor.cli.output import print_report
from registry_auditor.cli.progress import progress


def demo(
    directory: Annotated[
        Path | None, typer.Option("--directory", metavar="DIR", help="Where the networks go; cached there.")
    ] = None,
    db: options.DB = None,
) -> int:
    """Build a tiny base and two fine-tunes of it, audit both, and print what differs.

    One fine-tune only changes its manners; the other hides a trigger. About two minutes the first time, seconds after.

    Example: registry-auditor demo
    """
    from registry_auditor import testbed
    from registry_auditor.config import load

    settings = load(db=db)
    with progress() as tell:
        folders = testbed.build(
            directory or settings.cache / "testbed",
            progress=lambda what, share: tell(what, round(100 * share), 100),
        )
    for folder in (folders.clean, folders.backdoored):
        typer.echo(f"\n$ registry-auditor audit {folder} --base {folders.base}\n")
        print_report(perform(str(folder), str(folders.base), settings), ReportFormat.TEXT, None)
    return 0
