"""`registry-auditor tokens`: who may use the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_json, print_page
from registry_auditor.cli.person import author
from registry_auditor.cli.times import until
from registry_auditor.domain import Scope

if TYPE_CHECKING:
    from registry_auditor.domain import Token

app = typer.Typer(no_args_is_help=True)

NEVER = "never"


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for: the log of writes tells it.")],
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="read, triage, submit or admin [read]; may be repeated.")
    ] = None,
    expires: Annotated[str, typer.Option("--expires", metavar="TIME", help="90d, 2027-01-31 or never.")] = "90d",
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Make an API token and print its secret, this once: only a hash of it is kept.

    Example: registry-auditor tokens create ci --scope submit --expires 90d
    """
    from registry_auditor.report import answers

    scopes = frozenset(scope or [Scope.READ])
    expires_at = None if expires == NEVER else until(expires)
    with options.stored(db) as store:
        token, secret = store.tokens.create(name, scopes, expires_at=expires_at, by=author())
    if form is Format.JSON:
        print_json(answers.token(token) | {"secret": secret})
        return
    typer.echo(secret)
    typer.echo(
        f"Token {token.name} ({_scopes(token)}), good until {_time(token.expires_at) or 'it is revoked'}.\n"
        "Keep the secret: it is not shown again. Send it as `Authorization: Bearer SECRET`.",
        err=True,
    )


@app.command("list")
def list_(
    limit: options.Limit = 50,
    after: options.After = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """API tokens, newest first: what they may do, until when, and when they were last used.

    Example: registry-auditor tokens list
    """
    from registry_auditor.report import answers

    with options.stored(db) as store:
        page = store.tokens.list(limit=limit, after=after)
    now = datetime.now(UTC)
    print_page(
        page,
        form,
        record=answers.token,
        columns={
            "token": lambda token: token.id,
            "name": lambda token: token.name,
            "scopes": _scopes,
            "state": lambda token: _state(token, now),
            "expires": lambda token: _time(token.expires_at) or "never",
            "last used": lambda token: _time(token.last_used_at) or "–",
            "made by": lambda token: token.created_by,
        },
        empty="No tokens. Try: registry-auditor tokens create NAME --scope read",
    )


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Id of a token, or its first characters.")],
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Make a token worthless, from now on. It stays in the list.

    Example: registry-auditor tokens revoke 0199a1b23c4d
    """
    from registry_auditor.report import answers

    with options.stored(db) as store:
        revoked = store.tokens.revoke(token, by=author())
    if form is Format.JSON:
        print_json(answers.token(revoked))
    else:
        typer.echo(f"Token {revoked.name} opens nothing since {_time(revoked.revoked_at)}.")


def _scopes(token: Token) -> str:
    return ", ".join(sorted(token.scopes))


def _state(token: Token, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "good"


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
