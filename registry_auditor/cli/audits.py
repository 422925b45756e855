"""`registry-auditor audits`: what was audited."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import Format, ReportFormat
from registry_auditor.cli.output import print_json, print_page, print_report
from registry_auditor.cli.times import ago
from registry_auditor.domain import AuditState, ModelRef, Verdict
from registry_auditor.errors import UsageError

app = typer.Typer(no_args_is_help=True)
SHORT = 13
"""Characters of an id: the part of a UUIDv7 that is the time to a millisecond."""


@app.command("list")
def list_(
    model: options.Model = None,
    state: Annotated[AuditState | None, typer.Option("--state", help="Only in this state.")] = None,
    verdict: Annotated[Verdict | None, typer.Option("--verdict", help="Only with this verdict.")] = None,
    base: Annotated[str | None, typer.Option("--base", metavar="GLOB", help="Only against these.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", metavar="TIME", parser=ago, help="Queued since 7d or 2027-01-31.")
    ] = None,
    limit: options.Limit = 50,
    after: options.After = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Past audits, newest first.

    Example: registry-auditor audits list --verdict fail --model 'hf:org/*'
    """
    from registry_auditor.report import records, words

    with options.stored(db) as store:
        page = store.audits(
            model_glob=model, base_glob=base, state=state, verdict=verdict, since=since, limit=limit, after=after
        )
    print_page(
        page,
        form,
        record=records.audit,
        columns={
            "audit": lambda audit: audit.id[:SHORT],
            "queued": lambda audit: f"{audit.queued_at:%Y-%m-%d %H:%M}",
            "verdict": lambda audit: audit.verdict or audit.state,
            "model": lambda audit: words.model(audit.job.model),
            "base": lambda audit: words.model(audit.job.base) if audit.job.base else "–",
        },
        empty="No audits yet. Try: registry-auditor demo",
    )


@app.command()
def show(
    audit: options.AuditId,
    form: options.AsReport = ReportFormat.TEXT,
    output: options.Output = None,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="AUDIT", help="Earlier audit of the same model; SARIF tells what is new."),
    ] = None,
    db: options.DB = None,
) -> None:
    """One audit with its findings, strongest directions and coverage.

    Example: registry-auditor audits show 0199a1b2 --format markdown --output AUDIT.md
    """
    from registry_auditor.report import gather
    from registry_auditor.report.baseline import baseline

    if before is not None and form is not ReportFormat.SARIF:
        raise UsageError(f"--before goes with --format sarif, which compares audits; not with {form}")
    with options.stored(db) as store:
        document = gather(store, audit)
        compared = None if before is None else baseline(store, before, document)
        analyzers = store.analyzers.list()
    print_report(document, form, output, analyzers=analyzers, before=compared)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="Id of the earlier audit, or its first characters.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Id of the later one.")],
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """What changed between two audits: findings that came, went or stayed, and directions that turned.

    Example: registry-auditor audits diff 0199a1b2 0199c3d4
    """
    from registry_auditor.cli.difference import print_comparison
    from registry_auditor.report import answers
    from registry_auditor.report.compare import compare

    with options.stored(db) as store:
        found = compare(store, before, after)
    if form is Format.JSON:
        print_json(answers.comparison(found))
        return
    print_comparison(found)


@app.command()
def submit(
    model: Annotated[str, typer.Argument(help="hf:org/name[@rev], mlflow:name[@version], or a folder.")],
    base: Annotated[str | None, typer.Option("--base", help="Its base; by default the one that it names.")] = None,
    analyzer: options.Analyzers = None,
    fail_on: options.FailOn = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Queue an audit; a worker finds out what the names mean, and carries it out.

    Of one that is not finished there is no second: asked for again, it is the same.

    Example: registry-auditor audits submit hf:org/name --base hf:org/base --analyzer svd-diff
    """
    from registry_auditor.cli.person import author
    from registry_auditor.config import load
    from registry_auditor.domain import BaseSource, Job
    from registry_auditor.report import records

    settings = load(db=db, fail_on=fail_on)
    job = Job(
        model=_named(model),
        base=None if base is None else _named(base),
        base_source=None if base is None else BaseSource.OPERATOR,
        fail_on=settings.fail_on,
        wish={name: {} for name in analyzer} if analyzer else None,
    )
    with options.open_store(settings) as store:
        asked = store.requests.submit(job, by=author())
    if form is Format.JSON:
        print_json(records.audit(asked))
        return
    typer.echo(f"{asked.id} is {asked.state}; see: registry-auditor audits show {asked.id}")


@app.command()
def cancel(audit: options.AuditId, form: options.AsFormat = Format.TEXT, db: options.DB = None) -> None:
    """Take back an audit that is not done; what its analyzers have found stays.

    Example: registry-auditor audits cancel 0199a1b2
    """
    from registry_auditor.cli.person import author
    from registry_auditor.report import records

    with options.stored(db) as store:
        done = store.requests.cancel(audit, by=author())
    if form is Format.JSON:
        print_json(records.audit(done))
        return
    typer.echo(f"{done.id}: {done.reason}")


def _named(target: str) -> ModelRef:
    """What a person calls a model, not looked up yet. Raises UsageError if it is neither a reference nor a folder."""
    if Path(target).is_dir():
        return ModelRef("dir", str(Path(target).resolve()))
    try:
        ref = ModelRef.parse(target)
    except ValueError as error:
        raise UsageError(f"{target}: no such folder, and {error}") from None
    return replace(ref, name=str(Path(ref.name).resolve())) if ref.registry == "dir" else ref
