"""`registry-auditor watch`: look at registries, once or for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.environment import export, require_something_to_watch, stop_signal

if TYPE_CHECKING:
    from registry_auditor.config import Settings
    from registry_auditor.store import Store
    from registry_auditor.watch import Watcher


def watch(
    registry: options.Registries = None,
    once: Annotated[bool, typer.Option("--once", help="Look at everything once, then leave.")] = False,
    db: options.DB = None,
    banks: options.Banks = None,
) -> int:
    """Queue an audit for every fine-tune that a registry shows, and for every one that a webhook names.

    What is not audited is kept with the reason: registry-auditor sightings list --skipped

    Example: registry-auditor watch --registry dir:/models --registry hf:my-org
    """
    settings = export(registries=registry, db=db, banks=banks)
    require_something_to_watch(settings)
    with options.open_store(settings) as store:
        watcher = _watcher(settings, store)
        if once:
            return _once(watcher)
        from registry_auditor.watch import watch

        stop = stop_signal()
        typer.echo(f"watching {', '.join(settings.registries) or 'what webhooks name'}", err=True)
        watch(watcher, stop)
    return 0


def _watcher(settings: Settings, store: Store) -> Watcher:
    from registry_auditor.analysis.discover import discover, plan
    from registry_auditor.audit import introduced
    from registry_auditor.watch import Watcher

    store.analyzers.save(introduced(discover().values()))
    return Watcher.of(settings, store, plan(settings.select, settings.analyzers))


def _once(watcher: Watcher) -> int:
    """One full pass; exit code 2 if a registry could not be listed."""
    from registry_auditor.watch import answer_deliveries, look

    answer_deliveries(watcher)
    sound = True
    for registry in watcher.registries.values():
        queued = look(watcher, registry, full=True)
        problem = watcher.store.watched.get(registry.spec).problem
        told = f"{queued} audit{'' if queued == 1 else 's'} queued"
        typer.echo(f"{registry.spec}: {told}" + (f"; {problem}" if problem else ""))
        sound = sound and problem is None
    return 0 if sound else 2
