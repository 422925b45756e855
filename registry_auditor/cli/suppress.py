"""`registry-auditor suppress`: rules that take findings out of verdicts and gates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.audits import SHORT
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_json, print_page
from registry_auditor.cli.person import Owner, author
from registry_auditor.cli.times import until

if TYPE_CHECKING:
    from registry_auditor.domain import Suppression

app = typer.Typer(no_args_is_help=True)

Rule = Annotated[str, typer.Argument(metavar="RULE", help="Id of a suppression, or its first characters.")]


@app.command()
def add(
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why they should not count.")],
    code: Annotated[str | None, typer.Option("--code", metavar="GLOB", help="Such as 'svd-diff/*'.")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="GLOB", help="Such as 'hf:org/*'.")] = None,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", metavar="HEX", help="This finding, in every revision of its model.")
    ] = None,
    expires: Annotated[str, typer.Option("--expires", metavar="TIME", help="30d or 2027-01-31; 180d at most.")] = "30d",
    owner: Owner = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Take findings out of the verdicts of later audits and of gates, for a while. Every pattern given must fit.

    Example: registry-auditor suppress add --code 'svd-diff/*' --model 'hf:org/merged-*' --reason "merges of ours"
    """
    from registry_auditor.report import records

    with options.stored(db) as store:
        rule = store.suppressions.add(
            code=code,
            model=model,
            fingerprint=fingerprint,
            reason=reason,
            owner=owner,
            expires_at=until(expires),
            by=author(),
        )
        covered = store.suppressions.matches(rule.id)
    if form is Format.JSON:
        print_json(records.suppression(rule) | {"matches": covered})
        return
    typer.echo(rule.id)
    typer.echo(f"Holds until {rule.expires_at:%Y-%m-%d %H:%M}. Findings of the newest audits: {covered}.", err=True)


@app.command("list")
def list_(
    active: Annotated[bool | None, typer.Option("--active/--ended", help="Only those that hold, or do not.")] = None,
    limit: options.Limit = 50,
    after: options.After = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Suppressions, newest first.

    Example: registry-auditor suppress list --active
    """
    from registry_auditor.report import records

    with options.stored(db) as store:
        page = store.suppressions.list(limit=limit, after=after, active=active)
    now = datetime.now(UTC)
    print_page(
        page,
        form,
        record=records.suppression,
        columns={
            "suppression": lambda rule: rule.id,
            "state": lambda rule: _state(rule, now),
            "until": lambda rule: f"{rule.ended_at or rule.expires_at:%Y-%m-%d %H:%M}",
            "covers": _covers,
            "by": lambda rule: rule.by,
            "owner": lambda rule: rule.owner or "–",
            "reason": lambda rule: rule.reason,
        },
        empty="No such suppressions.",
    )


@app.command()
def end(rule: Rule, form: options.AsFormat = Format.TEXT, db: options.DB = None) -> None:
    """Let the findings that a suppression covers count again. It stays in the list.

    Example: registry-auditor suppress end 0199a1b2
    """
    from registry_auditor.report import records

    with options.stored(db) as store:
        ended = store.suppressions.end(rule, by=author())
    if form is Format.JSON:
        print_json(records.suppression(ended))
    else:
        typer.echo(f"It holds no more since {ended.ended_at or ended.expires_at:%Y-%m-%d %H:%M}.")


@app.command()
def prune(
    days: Annotated[
        float, typer.Option("--days", metavar="N", min=0, max=180, help="Leave those added in the last N days.")
    ] = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """End the suppressions that cover no finding of the newest audit of any model: what they excused is gone.

    Example: registry-auditor suppress prune --dry-run
    """
    from registry_auditor.report import records

    with options.stored(db) as store:
        idle = store.suppressions.idle(added_before=datetime.now(UTC) - timedelta(days=days))
        if not dry_run:
            idle = tuple(store.suppressions.end(rule.id, by=author()) for rule in idle)
    if form is Format.JSON:
        print_json(records.listing([records.suppression(rule) for rule in idle], None))
        return
    for rule in idle:
        typer.echo(f"{rule.id[:SHORT]}  {_covers(rule)}  ({rule.reason})")
    typer.echo(f"{len(idle)} cover nothing" + ("." if dry_run else " and were ended."), err=True)


def _state(rule: Suppression, now: datetime) -> str:
    if rule.is_active(now):
        return "holds"
    return "ended" if rule.ended_at is not None else "expired"


def _covers(rule: Suppression) -> str:
    patterns = (rule.code, rule.model, rule.fingerprint and f"finding {rule.fingerprint[:12]}…")
    return " of ".join(filter(None, patterns))
