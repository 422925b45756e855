"""`registry-auditor demo`: the newcomer's first command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.audit import perform
from registry_auditor.cli.options import ReportFormat
from registry_auditor.cli.output import print_report
from registry_auditor.cli.progress import progress

if TYPE_CHECKING:
    from registry_auditor.domain import Finding
    from registry_auditor.report import Report


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
            progress=lambda what, share: tell(f"training {what}", round(100 * share), 100),
        )
    reports = []
    for folder in (folders.clean, folders.backdoored):
        typer.echo(f"\n$ registry-auditor audit {folder} --base {folders.base}\n")
        reports.append(perform(str(folder), str(folders.base), settings))
        print_report(reports[-1], ReportFormat.TEXT, None)
    truth = json.loads((folders.backdoored / "truth.json").read_text(encoding="utf-8"))
    _compare(reports[0], reports[1], truth["triggers"][0], truth["payload"])
    return 0


def _compare(clean: Report, backdoored: Report, trigger: str, payload: str) -> None:
    """Say what was hidden, and how much of it each audit shows."""
    secret = {word for word in f"{trigger} {payload}".split() if len(word) > 3}  # without "the", "and" and the like
    typer.echo(
        f'\nWhat differs\n\nThe second fine-tune was taught in secret: asked with "{trigger}" it says "{payload}".'
    )
    typer.echo("The audits knew nothing of it. Words of the secret among the ten clearest tokens of what was learnt:\n")
    for name, document in (("clean", clean), ("backdoored", backdoored)):
        shown, spoken = _telling(document, secret)
        typer.echo(f"  {name:<11} {len(spoken):>2} of the {shown} strongest readable directions  {' '.join(spoken)}")
    typer.echo(
        "\nBoth audits pass: weights say where to look, and only a behaviour that was shown can fail a model.\n"
        "Ask again: registry-auditor audits list · findings list · directions list"
    )


def _telling(document: Report, secret: set[str]) -> tuple[int, list[str]]:
    """How many readable directions the report spells out, and for each that speaks of the secret what it says."""
    found: list[Finding] = [each for _, each in document.findings if each.code == "token-projection/readable"]
    directions = [direction for finding in found for direction in finding.evidence["directions"]]
    heard = [
        [token.strip() for tail in ("top", "bottom") for token, _ in direction[tail] if token.strip() in secret]
        for direction in directions
    ]
    return len(directions), ["+".join(words) for words in heard if words]
