"""`registry-auditor directions`: along which directions models were changed."""

from __future__ import annotations

from typing import Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_page

app = typer.Typer(no_args_is_help=True)


@app.callback()
def directions() -> None:
    """The directions of past audits."""


@app.command("list")
def list_(
    model: options.Model = None,
    audit: options.OfAudit = None,
    tensor: Annotated[str | None, typer.Option("--tensor", metavar="GLOB", help="Such as '*down_proj*'.")] = None,
    role: Annotated[str | None, typer.Option("--role", metavar="GLOB", help="Such as 'mlp.*'.")] = None,
    layer: Annotated[int | None, typer.Option("--layer", min=0, help="Only of this layer.")] = None,
    limit: options.Limit = 50,
    after: options.After = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Directions of past audits, strongest first, with what they say in tokens.

    Example: registry-auditor directions list --audit 0199a1b2 --role mlp.down --limit 10
    """
    from registry_auditor.report import records, words

    with options.stored(db) as store:
        page = store.directions(
            model_glob=model,
            audit_id=audit and store.audit(audit).id,
            tensor=tensor,
            role=role,
            layer=layer,
            limit=limit,
            after=after,
        )
    print_page(
        page,
        form,
        record=records.direction,
        columns={
            "strength": lambda each: f"{each.strength:.3g}",
            "where": lambda each: f"{words.place(each.site)} #{each.rank}",
            "side": words.verb,
            "top tokens": lambda each: words.tokens(each.tokens)[0],
            "p": lambda each: words.tokens(each.tokens)[2],
            "bank": lambda each: f"{each.bank[:12]}:{each.ordinal}",
            "model": lambda each: ", ".join(words.model(model) for model in each.models),
        },
        empty="No such directions.",
    )
