"""`registry-auditor up`: everything on one machine."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.environment import export, require_something_to_watch, spare_the_cores, stop_signal
from registry_auditor.cli.household import Household
from registry_auditor.config import origins
from registry_auditor.errors import StoreError

if TYPE_CHECKING:
    from registry_auditor.config import Settings
    from registry_auditor.domain import Audit
    from registry_auditor.store import Store

LOOK_EVERY_S = 0.5


def up(
    registry: options.Registries = None,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, help="Audits at a time.")] = 1,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8321,
    broker: Annotated[str | None, typer.Option("--broker", metavar="URL", help="Instead of one of its own.")] = None,
    db: options.DB = None,
    banks: options.Banks = None,
    device: options.Device = None,
    timeout: options.Timeout = None,
    no_auth: options.NoAuth = False,
) -> int:
    """Watch registries and audit what they show: watcher, worker, API, pages and broker, until Ctrl-C.

    Prints a line for every finished audit. Nothing is lost by stopping it, however it is stopped.

    Example: registry-auditor up --registry dir:/models
    """
    settings = export(registries=registry, db=db, banks=banks, device=device, timeout_s=timeout)
    require_something_to_watch(settings)
    os.environ.setdefault("REGISTRY_AUDITOR_LOG", "WARNING")  # of the children: what they finish is told here
    stop = stop_signal()
    with ExitStack() as stack:
        store = stack.enter_context(options.open_store(settings))
        spare_the_cores(concurrency)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="registry-auditor-"))
        household = stack.enter_context(Household(grace_s=settings.grace_s))
        if broker is None and origins(settings)["broker"] == "default":
            broker = f"redis+socket://{folder}/broker.sock"
            household.start("broker", "broker", "--socket", f"{folder}/broker.sock")
        export(broker=broker)
        household.start("api", "serve", "--host", host, "--port", str(port), *(["--no-auth"] if no_auth else []))
        household.start("watcher", "watch")
        household.start("control", "worker", "--queue", "control", "--beat")
        household.start("worker", "worker", "--queue", "cpu", "--concurrency", str(concurrency))
        if _has_gpu(settings):
            household.start("gpu worker", "worker", "--queue", "gpu")
        typer.echo(f"audits are kept in {_shown(settings.db)}; stop with Ctrl-C", err=True)
        _report(store, household, stop)
    return 0


def _report(store: Store, household: Household, stop: threading.Event) -> None:
    """Print what finishes, until somebody wants to stop."""
    since = datetime.now(UTC)
    told: set[str] = set()
    while not stop.is_set():
        household.tend()
        try:
            for audit in _finished(store, since):
                if audit.id not in told:
                    told.add(audit.id)
                    typer.echo(_line(audit))
        except StoreError as error:
            typer.echo(f"registry-auditor: {error}", err=True)
        time.sleep(LOOK_EVERY_S)
    typer.echo("stopping; audits at work may finish, or go back to the queue", err=True)


def _finished(store: Store, since: datetime) -> list[Audit]:
    """The audits that were finished after `since`, in that order, among the newest."""
    from registry_auditor.domain import AuditState

    done = store.audits(state=AuditState.DONE, limit=200).items
    recent = [(audit.finished_at, audit.id, audit) for audit in done if audit.finished_at]
    return [audit for finished_at, _, audit in sorted(recent) if finished_at > since]


def _line(audit: Audit) -> str:
    from registry_auditor.cli.audits import SHORT
    from registry_auditor.report import words

    seconds = (audit.finished_at - audit.queued_at).total_seconds() if audit.finished_at else 0.0
    when = f"{audit.finished_at:%H:%M:%S}, {seconds:.1f} s after it was queued"
    return f"{audit.verdict:<10}  {words.model(audit.job.model)}  {when}  {audit.id[:SHORT]}"


def _has_gpu(settings: Settings) -> bool:
    """Whether a plan of today needs a GPU."""
    from registry_auditor.analysis.discover import plan, queue_of
    from registry_auditor.domain import Queue

    return queue_of(plan(settings.select, settings.analyzers)) is Queue.GPU


def _shown(db: str) -> str:
    from registry_auditor.store.engine import without_password

    return without_password(db)
