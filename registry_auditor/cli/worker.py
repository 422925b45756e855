"""`registry-auditor worker`: carry out what waits."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated

import typer

from registry_auditor import logs
from registry_auditor.cli import options
from registry_auditor.cli.environment import export, spare_the_cores
from registry_auditor.cli.options import LogFormat
from registry_auditor.domain import Queue
from registry_auditor.errors import UsageError
from registry_auditor.worker import CONTROL

QUEUES = (*Queue, CONTROL)

Queues = Annotated[
    list[str] | None,
    typer.Option("--queue", "-q", metavar="NAME", help="cpu, gpu or control; may be repeated [cpu and control]."),
]


def worker(
    queue: Queues = None,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, help="Audits at a time.")] = 1,
    beat: Annotated[bool, typer.Option("--beat", help="Also send the regular messages: one worker should.")] = False,
    broker: options.Broker = None,
    db: options.DB = None,
    banks: options.Banks = None,
    device: options.Device = None,
    timeout: options.Timeout = None,
    log_format: options.LogAs = LogFormat.TEXT,
) -> int:
    """Carry out audits as they are queued; told to stop, let them finish for a while (`grace_s`) or give them back.

    The queues: cpu and gpu hold audits, control what takes moments (watching, dispatching, notifying). A GPU worker
    takes one audit at a time, from the gpu queue alone.

    Example: registry-auditor worker --queue cpu --concurrency 4 --broker redis://redis/0
    """
    queues = _checked(queue or [Queue.CPU, CONTROL])
    settings = export(broker=broker, db=db, banks=banks, device=device, timeout_s=timeout)
    os.environ[logs.FORMAT_VARIABLE] = log_format
    spare_the_cores(concurrency)
    with options.open_store(settings):  # a worker without a database is told so now, not by its first audit
        pass
    from registry_auditor.notify import check_targets
    from registry_auditor.worker import run

    check_targets(settings.notifications)
    return run(queues, pool=_pool(queues), concurrency=1 if Queue.GPU in queues else concurrency, beat=beat)


def _checked(queues: Iterable[str]) -> list[str]:
    chosen = list(dict.fromkeys(queues))
    for name in chosen:
        if name not in QUEUES:
            raise UsageError(f"--queue {name}: there are {', '.join(QUEUES)}")
    if Queue.GPU in chosen and len(chosen) > 1:
        raise UsageError("--queue gpu: a GPU worker takes nothing else; start another worker for the other queues")
    return chosen


def _pool(queues: list[str]) -> str:
    """CUDA does not survive a fork; and what takes moments needs no process of its own."""
    if Queue.GPU in queues:
        return "solo"
    return "threads" if queues == [CONTROL] else "prefork"
