"""`registry-auditor findings`: what was found."""

from __future__ import annotations

from typing import Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.audits import SHORT
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_json, print_page
from registry_auditor.domain import Severity

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(
    model: options.Model = None,
    audit: options.OfAudit = None,
    severity: Annotated[Severity | None, typer.Option("--severity", help="This one or worse.")] = None,
    code: Annotated[str | None, typer.Option("--code", metavar="GLOB", help="Such as 'svd-diff/*'.")] = None,
    analyzer: Annotated[str | None, typer.Option("--analyzer", metavar="NAME", help="Only of this one.")] = None,
    limit: options.Limit = 50,
    after: options.After = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Findings of past audits, newest first.

    Example: registry-auditor findings list --severity medium --code 'svd-diff/*'
    """
    from registry_auditor.report import records, words

    with options.stored(db) as store:
        page = store.findings(
            model_glob=model,
            audit_id=audit and store.audit(audit).id,
            severity=severity,
            code=code,
            analyzer=analyzer,
            limit=limit,
            after=after,
        )
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
            "audit": lambda found: found.audit[:SHORT],
            "message": lambda found: found.finding.message,
        },
        empty="No such findings.",
    )


@app.command()
def show(
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="Id of a finding, or its first characters.")],
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """One finding with its evidence.

    Example: registry-auditor findings show 0199a1b2-3c4d
    """
    import json

    from registry_auditor.report import records, words

    with options.stored(db) as store:
        found = store.finding(finding)
    if form is Format.JSON:
        print_json(records.stored_finding(found))
        return
    lines = {
        found.finding.severity.upper(): found.finding.code,
        "model": words.model(found.model),
        "audit": found.audit,
        "where": str(found.finding.site or "the whole model"),
        "score": words.score(found.finding),
        "seen": found.finding.message,
        "evidence": json.dumps(dict(found.finding.evidence), indent=2, ensure_ascii=False),
    }
    for name, value in lines.items():
        typer.echo(f"{name:<9} {value}")
