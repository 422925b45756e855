"""`registry-auditor audit`: one model, now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import ReportFormat
from registry_auditor.cli.output import print_report
from registry_auditor.cli.progress import progress

if TYPE_CHECKING:
    from registry_auditor.config import Settings
    from registry_auditor.report import Report
    from registry_auditor.store.catalogue import AnalyzerInfo


def audit(
    tuned: Annotated[str, typer.Argument(help="The fine-tune: a folder (also of an adapter) or hf:org/name[@rev].")],
    base: Annotated[str | None, typer.Option("--base", help="Its base; by default the one that it names.")] = None,
    analyzer: options.Analyzers = None,
    form: options.AsReport = ReportFormat.TEXT,
    output: options.Output = None,
    fail_on: options.FailOn = None,
    db: options.DB = None,
    banks: options.Banks = None,
    device: options.Device = None,
    timeout: options.Timeout = None,
    allow_incomplete: options.AllowIncomplete = None,
) -> int:
    """Examine a fine-tune and print what its fine-tuning changed.

    The result stays in the database; an interrupted audit goes on where it stopped when the command is run again.

    Example: registry-auditor audit ./my-finetune --base ./base --format json
    """
    from registry_auditor.config import load

    settings = load(
        db=db,
        banks=banks,
        select=analyzer,
        fail_on=fail_on,
        device=device,
        timeout_s=timeout,
        allow_incomplete=allow_incomplete,
    )
    document = perform(tuned, base, settings)
    print_report(document, form, output, analyzers=_installed())
    return document.exit_code


def perform(tuned: str, base: str | None, settings: Settings) -> Report:
    """Audit `tuned` as the settings say and return the report."""
    from registry_auditor.analysis.device import chosen
    from registry_auditor.analysis.discover import discover, plan, queue_of
    from registry_auditor.audit import Terms, carry_out, introduced
    from registry_auditor.domain import Job
    from registry_auditor.registries import Cache
    from registry_auditor.report import gather
    from registry_auditor.request import find

    steps = plan(settings.select, settings.analyzers)
    device = chosen(settings.device)
    cache = Cache(*settings.downloads)
    with options.open_store(settings) as store:
        store.analyzers.save(introduced(discover().values()))
        found = find(tuned, base, settings, waits=False)
        if found.problem:
            typer.echo(f"registry-auditor: going on without a base: {found.problem}", err=True)
        store.sightings.record(found.model, base=found.base, source=found.source)
        keys = tuple(step.key for step in steps)
        job = Job(found.model, found.base, found.source, settings.fail_on, keys, queue_of(steps))
        record = store.submit(job)
        with progress() as tell:
            record = carry_out(record, store, steps, Terms(device, settings.timeout_s, tell, cache))
        return gather(store, record.id, allow_incomplete=settings.allow_incomplete)


def _installed() -> list[AnalyzerInfo]:
    from registry_auditor.analysis.discover import discover
    from registry_auditor.audit import introduced

    return introduced(discover().values())
