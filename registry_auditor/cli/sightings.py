"""`registry-auditor sightings`: what registries showed, and why something was not audited."""

from __future__ import annotations

from typing import Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_page

app = typer.Typer(no_args_is_help=True)


@app.callback()
def sightings() -> None:
    """What registries showed."""


@app.command("list")
def list_(
    model: options.Model = None,
    registry: Annotated[str | None, typer.Option("--registry", metavar="SPEC", help="Only of this one.")] = None,
    skipped: Annotated[
        bool | None, typer.Option("--skipped/--audited", help="Only what is not audited, or only what is.")
    ] = None,
    limit: options.Limit = 50,
    after: options.After = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Models that were seen, latest first: their base and who names it, or why they are not audited.

    Example: registry-auditor sightings list --skipped
    """
    from registry_auditor.report import records, words

    with options.stored(db) as store:
        page = store.sightings.list(model_glob=model, registry=registry, skipped=skipped, limit=limit, after=after)
    print_page(
        page,
        form,
        record=records.sighting,
        columns={
            "seen": lambda each: f"{each.last_seen_at:%Y-%m-%d %H:%M}",
            "model": lambda each: words.model(each.model),
            "base": lambda each: words.model(each.base) if each.base else "–",
            "named by": lambda each: each.base_source or "–",
            "not audited, since": lambda each: each.skipped or "",
        },
        empty="Nothing was seen yet. Try: registry-auditor watch --once --registry dir:FOLDER",
    )
