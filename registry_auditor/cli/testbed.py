"""`registry-auditor testbed`: small networks whose truth is known, to try the other commands on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_json, print_page
from registry_auditor.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_auditor.testbed import Built, Case

app = typer.Typer(no_args_is_help=True)
EXIT_INCOMPLETE = 3

Profile = Annotated[str, typer.Option("--profile", metavar="NAME", help="demo, ci or full.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the first family; others count on.")]
Only = Annotated[str, typer.Option("--only", metavar="GLOB", help="Such as 'howto-llama-*/style*', and their parents.")]


@app.callback()
def testbed() -> None:
    """Small networks whose truth is known."""


@app.command()
def build(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the networks go; finished ones are kept.")],
    profile: Profile = "ci",
    seed: Seed = 0,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes [one for each core].")] = None,
    only: Only = "*",
    form: options.AsFormat = Format.TEXT,
) -> int:
    """Train bases and fine-tunes of them, each with a card of what it was taught and what it does.

    Each folder holds a model, its `truth.json`, and prompts for other commands. A network that does not do what it was
    taught gets no folder: it is named, the others go on, and the exit code is 3. Run it again to go on after Ctrl-C.

    Example: registry-auditor testbed build /tmp/testbed --profile ci --only 'howto-llama-0/*'
    """
    from registry_auditor.testbed import build_all, cases

    chosen = cases(profile, seed=seed, only=only)
    started = time.monotonic()
    with progress() as tell:
        counting = _counting(chosen, tell)
        built = build_all(chosen, directory, jobs=jobs or os.cpu_count() or 1, progress=counting)
    if form is Format.JSON:
        print_json(_told(chosen, built, directory))
    else:
        _print_built(built, directory, time.monotonic() - started)
    return EXIT_INCOMPLETE if built.failed else 0


@app.command("list")
def list_(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Also say what is built there.")] = None,
    profile: Profile = "ci",
    seed: Seed = 0,
    only: Only = "*",
    form: options.AsFormat = Format.TEXT,
) -> None:
    """What a profile consists of; with DIR, whether it is there and what was measured.

    Example: registry-auditor testbed list /tmp/testbed --profile full --only '*/backdoor-*'
    """
    from registry_auditor.testbed import cases

    columns: dict[str, Callable[[Case], str]] = {"name": lambda each: each.name, "kind": lambda each: each.recipe.kind}
    if directory is not None:
        place = directory
        columns |= {"state": lambda each: _state(each, place), "measured": lambda each: _measured(each, place)}
    print_page(
        (cases(profile, seed=seed, only=only), None),
        form,
        record=lambda each: _record(each, directory),
        columns={**columns, "what it does": lambda each: each.recipe.does},
        empty="Nothing.",
    )


def _counting(chosen: Sequence[Case], tell: Callable[[str, int, int], None]) -> Callable[[str, float], None]:
    """What is told of each case, as how many of all are done."""
    done = {case.name: 0.0 for case in chosen}

    def progress(name: str, fraction: float) -> None:
        done[name] = fraction
        tell("training networks", int(sum(done.values())), len(done))

    return progress


def _record(case: Case, directory: Path | None) -> dict[str, Any]:
    from registry_auditor.testbed import card

    record = {
        "name": case.name,
        "kind": case.recipe.kind,
        "does": case.recipe.does,
        "made_from": [parent.name for parent in case.parents],
    }
    if directory is None:
        return record
    folder = case.folder(directory)
    known = card.read(folder).get("measured", {})
    return {**record, "folder": str(folder), "state": _state(case, directory), "measured": known}


def _state(case: Case, directory: Path) -> str:
    if case.is_finished(directory):
        return "finished"
    return "made otherwise" if case.folder(directory).exists() else "missing"


def _measured(case: Case, directory: Path) -> str:
    from registry_auditor.testbed import card

    claimed = {claim.measured for claim in case.recipe.claims}
    known = card.read(case.folder(directory)).get("measured", {})
    return ", ".join(f"{name} {share:.2f}" for name, share in known.items() if name in claimed)


def _told(chosen: Sequence[Case], built: Built, directory: Path) -> dict[str, Any]:
    return {
        "directory": str(directory),
        "networks": [_record(case, directory) for case in chosen if case.name in built.folders],
        "made": len(built.folders) - built.reused,
        "reused": built.reused,
        "failed": [{"name": name, "why": why} for name, why in built.failed.items()],
    }


def _print_built(built: Built, directory: Path, took_s: float) -> None:
    made = len(built.folders) - built.reused
    typer.echo(f"{made} networks made in {took_s:.0f} s, {built.reused} were there, {len(built.failed)} failed")
    for name, why in built.failed.items():
        typer.echo(f"{name}: {why}", err=True)
    typer.echo(f"What there is: registry-auditor testbed list {directory}", err=True)
