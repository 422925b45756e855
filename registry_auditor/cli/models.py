"""`registry-auditor models`: which models were seen, and how they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.audits import SHORT
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_json, print_page
from registry_auditor.domain import ModelRef, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry_auditor.domain import Severity
    from registry_auditor.store.catalogue import Descent, ModelSummary, Revision

app = typer.Typer(no_args_is_help=True)
SHOWN = 20
"""Revisions that `show` prints."""


@app.command("list")
def list_(
    model: options.Model = None,
    verdict: Annotated[
        Verdict | None, typer.Option("--verdict", help="Only those whose newest finished audit has it.")
    ] = None,
    limit: options.Limit = 50,
    after: options.After = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """Models by name: how the newest finished audit of each ended, and what it found.

    Example: registry-auditor models list --model 'hf:org/*' --verdict fail
    """
    from registry_auditor.report import answers

    with options.stored(db) as store:
        page = store.models.list(model_glob=model, verdict=verdict, limit=limit, after=after)
    print_page(
        page,
        form,
        record=answers.model,
        columns={
            "model": lambda each: str(each.ref),
            "revisions": lambda each: str(each.revisions),
            "verdict": _verdict,
            "findings": lambda each: _counted(each.counts),
            "audit": lambda each: each.audit.id[:SHORT] if each.audit else "–",
            "seen": lambda each: f"{each.last_seen_at:%Y-%m-%d %H:%M}" if each.last_seen_at else "–",
        },
        empty="No such models.",
    )


@app.command()
def show(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="hf:org/name, dir:/models/x, a folder, or its id.")],
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """One model: its revisions, how they were judged, and from what it was made.

    Example: registry-auditor models show hf:org/name
    """
    from registry_auditor.report import answers, words

    number = _id(model)
    with options.stored(db) as store:
        summary = store.models.get(number)
        revisions = store.models.revisions(number, limit=SHOWN)
        lineage = store.models.lineage(number)
    if form is Format.JSON:
        told = {
            "revisions": [answers.revision(each) for each in revisions.items],
            "lineage": answers.lineage(lineage)["items"],
        }
        print_json({"model": answers.model(summary), **told})
        return
    typer.echo(f"{summary.ref}: {_verdict(summary)}, {_counted(summary.counts)}")
    _print_lineage(summary.ref, lineage)
    typer.echo()
    print_page(
        revisions,
        form,
        record=answers.revision,
        columns={
            "revision": lambda each: words.model(each.ref).rpartition("@")[2] if each.ref.revision else "–",
            "seen": lambda each: f"{each.last_seen_at:%Y-%m-%d %H:%M}" if each.last_seen_at else "–",
            "verdict": _verdict,
            "findings": lambda each: _counted(each.counts),
            "audit": lambda each: each.audit.id[:SHORT] if each.audit else "–",
            "not audited, since": lambda each: each.skipped or "",
        },
        empty="",
    )


def _id(model: str) -> str:
    """The id of what a person calls a model: a reference, a folder, or the id itself."""
    from registry_auditor.store.catalogue import model_id

    if Path(model).is_dir():
        return model_id(ModelRef("dir", str(Path(model).resolve())))
    try:
        return model_id(ModelRef.parse(model))
    except ValueError:
        return model


def _verdict(each: ModelSummary | Revision) -> str:
    return "not audited" if each.audit is None else each.audit.verdict or each.audit.state


def _counted(counts: Mapping[Severity, int]) -> str:
    return ", ".join(f"{count} {severity}" for severity, count in counts.items()) or "nothing found"


def _print_lineage(model: ModelRef, edges: Iterable[Descent]) -> None:
    for edge in edges:
        said = f" (said by the {edge.source})" if edge.source else ""
        of = f"{edge.model} " if edge.model != model else ""
        typer.echo(f"{of}made from {edge.base}{said}")
