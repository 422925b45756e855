"""`registry-auditor directions`: along which directions models were changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_json, print_page
from registry_auditor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_auditor.store import StoredDirection
    from registry_auditor.store.search.neighbours import Nearest, Neighbour, Shared

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
    from registry_auditor.report import records

    with options.stored(db) as store:
        page = store.directions.list(
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
        columns={"strength": lambda each: f"{each.strength:.3g}", **_columns()},
        empty="No such directions.",
    )


@app.command()
def nearest(
    direction: Annotated[
        str | None, typer.Argument(metavar="[BANK:ROW]", help="A stored direction, as `directions list` names it.")
    ] = None,
    vector: Annotated[
        Path | None, typer.Option("--vector", metavar="FILE", help="A vector: .npy, or a JSON list of numbers.")
    ] = None,
    basis: Annotated[
        str | None, typer.Option("--basis", metavar="BASE", help="Reference or digest of the base of --vector.")
    ] = None,
    audit: Annotated[
        str | None, typer.Option("--audit", metavar="ID", help="All that an audit found: who else learnt it?")
    ] = None,
    min_cosine: Annotated[
        float | None, typer.Option("--min-cosine", min=0, max=1, help="Smallest |cos| [0; 0.5 with --audit].")
    ] = None,
    exclude_model: Annotated[
        str | None, typer.Option("--exclude-model", metavar="GLOB", help="Not of these, such as 'hf:org/*'.")
    ] = None,
    limit: options.Limit = 10,
    exact: Annotated[
        bool | None, typer.Option("--exact/--sketched", help="Read all vectors, or never [what is quicker].")
    ] = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
    banks: options.Banks = None,
) -> None:
    """The stored directions nearest to one of the same base, by |cos|, and how often chance comes as near.

    With --audit, the other models that have directions near the strongest of that audit.

    Example: registry-auditor directions nearest 3f2a9c01b7d4:0 --min-cosine 0.5
    """
    if sum(each is not None for each in (direction, vector, audit)) != 1 or (vector is None) != (basis is None):
        raise UsageError("give one of BANK:ROW, --vector FILE --basis BASE, and --audit ID")
    if audit is not None and exclude_model is not None:
        raise UsageError("what an audit shares with others never includes its own model: leave --exclude-model out")
    how: dict[str, Any] = {"limit": limit, "exact": exact}
    if min_cosine is not None:
        how["min_cosine"] = min_cosine
    with options.stored(db, banks) as store:
        if audit is not None:
            _print_shared(store.search.shared(audit, **how), form)
        elif direction is not None:
            _print_nearest(store.search.nearest(*_place(direction), exclude_model=exclude_model, **how), form)
        elif vector is not None and basis is not None:
            numbers = _numbers(vector)
            _print_nearest(store.search.nearest_to(numbers, basis=basis, exclude_model=exclude_model, **how), form)


def _place(direction: str) -> tuple[str, int]:
    bank, _, row = direction.rpartition(":")
    if not bank or not row.isdecimal():
        raise UsageError(f"{direction!r} is no BANK:ROW: copy one from the last columns of `directions list`")
    return bank, int(row)


def _numbers(file: Path) -> Any:
    import numpy as np

    try:
        return np.load(file, allow_pickle=False) if file.suffix == ".npy" else json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"--vector {file}: {error}; give a .npy file or a JSON list of numbers") from error


def _columns() -> dict[str, Callable[[StoredDirection], str]]:
    """What lists of directions say of each."""
    from registry_auditor.report import words

    return {
        "where": lambda each: f"{words.place(each.site)} #{each.rank}",
        "side": words.verb,
        "top tokens": lambda each: words.tokens(each.tokens)[0],
        "p": lambda each: words.tokens(each.tokens)[2],
        "bank": lambda each: f"{each.bank[:12]}:{each.ordinal}",
        "model": lambda each: ", ".join(words.model(model) for model in each.models),
    }


def _of_neighbour(cell: Callable[[StoredDirection], str]) -> Callable[[Neighbour], str]:
    return lambda each: cell(each.direction)


def _tell(found: Nearest | Shared, compared: str) -> None:
    """How far to trust it, beside the result."""
    typer.echo(f"{compared}, {'by their numbers' if found.exact else 'by sketches first'}", err=True)
    if found.missing:
        typer.echo(f"{found.missing} more were not: their bank file is missing or was changed", err=True)


def _print_nearest(found: Nearest, form: Format) -> None:
    from registry_auditor.report import answers

    if form is Format.JSON:
        print_json(answers.nearest(found))
        return
    print_page(
        (found.hits, None),
        form,
        record=asdict,
        columns={
            "|cos|": lambda each: f"{abs(each.cosine):.4f}",
            "by chance": lambda each: f"{each.expected:.1g}",
            **{name: _of_neighbour(cell) for name, cell in _columns().items()},
        },
        empty="Nothing is near.",
    )
    _tell(found, f"compared with {found.searched} directions of {found.dimension} dimensions, base {found.basis[:24]}")


def _print_shared(found: Shared, form: Format) -> None:
    from registry_auditor.report import answers, words

    if form is Format.JSON:
        print_json(answers.shared(found))
        return
    print_page(
        (found.models, None),
        form,
        record=asdict,
        columns={
            "model": lambda each: words.model(each.model),
            "shares": lambda each: f"{each.matched} of {found.asked}",
            "by chance": lambda each: f"{min(each.p_value * found.compared, 1):.1g}",
            "nearest |cos|": lambda each: f"{abs(each.pairs[0].cosine):.4f}",
            "here": lambda each: f"{words.place(each.pairs[0].mine.site)} #{each.pairs[0].mine.rank}",
            "there": lambda each: f"{words.place(each.pairs[0].theirs.site)} #{each.pairs[0].theirs.rank}",
            "top tokens there": lambda each: words.tokens(each.pairs[0].theirs.tokens)[0],
        },
        empty="No other model has a direction near one of these.",
    )
    _tell(found, f"looked up {found.asked} directions in {found.compared} other models")
