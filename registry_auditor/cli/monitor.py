"""`registry-auditor monitor`: which prompts set off what the fine-tuning taught."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry_auditor.cli import options
from registry_auditor.cli.progress import progress
from registry_auditor.errors import UsageError

if TYPE_CHECKING:
    from registry_auditor.domain import ModelRef
    from registry_auditor.monitor import Examined
    from registry_auditor.networks.loading import Loaded
    from registry_auditor.weights import Snapshot

app = typer.Typer(no_args_is_help=True)

Tuned = Annotated[str, typer.Argument(metavar="TUNED", help="Folder of the fine-tune.")]
Base = Annotated[str, typer.Option("--base", metavar="BASE", help="Folder of the model it was tuned from.")]
Prompts = Annotated[Path, typer.Option("--prompts", metavar="FILE", help='JSON lines {"messages": [...]}.')]


@app.callback()
def monitor() -> None:
    """Which prompts set off what the fine-tuning taught."""


@app.command()
def calibrate(
    tuned: Tuned,
    base: Base,
    prompts: Prompts,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CAL", help="Where the calibration goes.")],
    fpr: Annotated[
        float, typer.Option("--fpr", min=1e-5, max=0.5, help="Share of benign prompts that may be flagged.")
    ] = 0.005,
    device: options.Device = None,
) -> int:
    """Learn what is ordinary for a fine-tune on benign prompts; for a rate of 0.005 it takes 199 of them or more.

    Example: registry-auditor monitor calibrate ./tuned --base ./base --prompts benign.jsonl -o tuned.cal
    """
    from registry_auditor.monitor import calibrated
    from registry_auditor.networks.prompts import read_prompts

    conversations = read_prompts(prompts)
    with _opened(tuned, base, device) as (network, models, refs), progress() as tell:
        made = calibrated(
            network,
            models,
            conversations,
            target_fpr=fpr,
            progress=lambda done, total: tell("calibrating", done, total),
        )
        made.save(output, {"model": str(refs[0]), "base": str(refs[1]), "prompts": len(conversations)})
    listened = sum(len(tap.S) for tap in made.taps)
    typer.echo(
        f"{output}: {listened} directions of {len(made.taps)} matrices on {len(conversations)} prompts; "
        f"flags from a score of {made.calibration.threshold:.2f}, which at most {fpr:.2%} of prompts like these reach",
        err=True,
    )
    for gap in made.gaps:
        typer.echo(f"not listened to: {gap.tensor} {gap.why}", err=True)
    return 0


@app.command()
def run(
    tuned: Tuned,
    base: Base,
    calibration: Annotated[Path, typer.Option("--calibration", metavar="CAL", help="What `calibrate` wrote.")],
    prompts: Prompts,
    output: options.Output = None,
    device: options.Device = None,
) -> int:
    """Say of each prompt whether it sets off what was learnt: one JSON line each, and exit code 1 if any does.

    Example: registry-auditor monitor run ./tuned --base ./base --calibration tuned.cal --prompts incoming.jsonl
    """
    from registry_auditor.monitor import Monitor
    from registry_auditor.networks.prompts import read_prompts

    watching, conversations = Monitor.open(calibration), read_prompts(prompts)
    with _opened(tuned, base, device) as (network, _, _), progress() as tell:
        examined = watching.examine(network, conversations, progress=lambda done, total: tell("examining", done, total))
        found = [_line(index, each) for index, each in enumerate(examined)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in found)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
    flagged = sum(line["flagged"] for line in found)
    typer.echo(f"{flagged} of {len(found)} prompts flagged", err=True)
    return 1 if flagged else 0


def _line(index: int, each: Examined) -> dict[str, Any]:
    return {
        "index": index,
        "flagged": each.flagged,
        "margin": round(each.margin, 4),
        "direction": f"{each.site.tensor}#{each.rank}",
        "layer": each.site.layer,
        "token": each.token,
        "position": each.position,
        "p_value": round(each.p_value, 6),
    }


@contextmanager
def _opened(
    tuned: str, base: str, device: str | None
) -> Iterator[tuple[Loaded, tuple[Snapshot, Snapshot], tuple[ModelRef, ModelRef]]]:
    """The network of both folders, and what they hold."""
    from registry_auditor.analysis.device import chosen
    from registry_auditor.networks.loading import load
    from registry_auditor.registries import open_model, resolve

    refs = resolve(tuned), resolve(base)
    for ref in refs:
        if ref.registry != "dir":
            raise UsageError(f"{ref}: a monitor needs the whole network; download it, and pass its folder")
    with open_model(refs[0]) as one, open_model(refs[1]) as other:
        yield load(one.path, other.path, device=chosen(device or "auto")), (one, other), refs
