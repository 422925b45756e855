"""`registry-auditor findings`: what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.audits import SHORT
from registry_auditor.cli.export import PAGE, ExportFormat, write
from registry_auditor.cli.narrowed import narrowed
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import console, print_json, print_page
from registry_auditor.cli.person import Owner, author
from registry_auditor.cli.times import until
from registry_auditor.domain import EventKind, Justification, Standing, Triage, TriageState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_auditor.domain import FindingEvent
    from registry_auditor.store import Store, StoredFinding
    from registry_auditor.store.filters import FindingFilters

app = typer.Typer(no_args_is_help=True)

Finding = Annotated[str, typer.Argument(metavar="FINDING", help="Id of a finding, or its first characters.")]


@app.command("list")
@narrowed
def list_(
    asked: FindingFilters,
    limit: options.Limit = 50,
    after: options.After = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Findings of past audits, newest first unless told.

    Example: registry-auditor findings list --severity medium --state not_set --since 7d --sort severity
    """
    from registry_auditor.report import records, words

    with options.stored(db) as store:
        page = store.findings(limit=limit, after=after, **asked)
    print_page(
        page,
        form,
        record=records.stored_finding,
        columns={
            "finding": lambda found: found.id,
            "severity": lambda found: found.finding.severity,
            "code": lambda found: found.finding.code,
            "score": lambda found: words.score(found.finding),
            "model": lambda found: words.model(found.model),
            "triage": lambda found: _state(found.standing),
            "audit": lambda found: found.audit[:SHORT],
            "message": lambda found: found.finding.message,
        },
        empty="No such findings.",
    )


@app.command()
def show(
    finding: Finding,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """One finding with its evidence, and what happened to it since.

    Example: registry-auditor findings show 0199a1b2-3c4d
    """
    import json

    from registry_auditor.report import answers, records, words
    from registry_auditor.report.visible import visible

    with options.stored(db) as store:
        found = store.finding(finding)
        events = store.triage.events(found.id)
    if form is Format.JSON:
        print_json(records.stored_finding(found) | {"events": [answers.event(each) for each in events]})
        return
    lines = {
        found.finding.severity.upper(): found.finding.code,
        "model": words.model(found.model),
        "audit": found.audit,
        "where": str(found.finding.site or "the whole model"),
        "score": words.score(found.finding),
        "seen": found.finding.message,
        "print": found.fingerprint,
        "stands": words.standing(found.standing) or "not triaged",
        "evidence": json.dumps(dict(found.finding.evidence), indent=2, ensure_ascii=False),
    }
    for name, value in lines.items():
        typer.echo(f"{name:<9} {visible(value, len(value))}")
    for event in events:
        typer.echo(f"{event.at:%Y-%m-%d %H:%M}  {visible(_told(event))}")


@app.command()
def triage(
    finding: Finding,
    state: Annotated[TriageState, typer.Option("--state", help="What you think of it.")],
    justification: Annotated[
        Justification | None, typer.Option("--justification", help="Why it does no harm; for not_affected.")
    ] = None,
    comment: Annotated[str | None, typer.Option("--comment", metavar="TEXT", help="Why; for false_positive.")] = None,
    owner: Owner = None,
    expires: Annotated[str | None, typer.Option("--expires", metavar="TIME", help="30d or 2027-01-31 [never].")] = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Say what you think of a finding: it holds in every revision of the model, until it expires or somebody says more.

    false_positive, not_affected and resolved take it out of the verdicts of later audits, and of gates.

    Example: registry-auditor findings triage 0199a1b2 --state false_positive --comment "a merge" --expires 90d
    """
    from registry_auditor.report import records, words

    said = Triage(state, justification, owner, comment, None if expires is None else until(expires))
    with options.stored(db) as store:
        found = store.finding(finding)
        store.triage.set(found.id, said, by=author())
        found = store.finding(found.id)
    if form is Format.JSON:
        print_json(records.stored_finding(found))
        return
    end = "" if said.expires_at is None else f", until {said.expires_at:%Y-%m-%d %H:%M}"
    counts = "counts" if found.standing.counts else "does not count"
    typer.echo(f"{found.finding.code} of {words.model(found.model)} is {state}{end}: it {counts} in later audits.")


@app.command()
@narrowed
def export(
    asked: FindingFilters,
    form: Annotated[ExportFormat, typer.Option("--format", "-f", help="csv, or jsonl: one object a line.")] = (
        ExportFormat.CSV
    ),
    output: options.Output = None,
    db: options.DB = None,
) -> None:
    """All findings that were asked for, for a spreadsheet or another program.

    Example: registry-auditor findings export --severity medium --output findings.csv
    """
    with options.stored(db) as store, console(output) as out:
        write(_every(store, asked), form, out.file)


def _state(standing: Standing) -> str:
    return "suppressed" if standing.suppression else "–" if standing.opinion is None else standing.state


def _every(store: Store, asked: FindingFilters) -> Iterator[StoredFinding]:
    after: str | None = None
    while True:
        page = store.findings(limit=PAGE, after=after, **asked)
        yield from page.items
        after = page.next
        if after is None:
            return


def _told(event: FindingEvent) -> str:
    """What happened, and who did it."""
    from registry_auditor.report import words

    told = str(event.kind)
    if event.model is not None:
        told += f" in {words.model(event.model)}, audit {(event.audit or '')[:SHORT]}"
    if event.opinion is not None:
        told += f": {words.standing(Standing(opinion=event.opinion)) or event.opinion.triage.state}"
    if event.suppression is not None:
        told += f": {words.standing(Standing(suppression=event.suppression))}"
    return told + (f", by {event.by}" if event.kind is EventKind.UNSUPPRESSED else "")
