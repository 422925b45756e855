"""The Celery worker: an edge around `registry_auditor.audit` and `registry_auditor.watch`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence


def run(queues: Sequence[str], *, pool: str, concurrency: int, beat: bool) -> int:
    """Work on `queues` until a signal says to stop; the exit code, 0 if one did."""
    from celery import signals
    from celery.platforms import SecurityWarning

    from registry_auditor.worker.app import app

    stopped: list[str] = []
    signals.worker_shutting_down.connect(lambda sig, **_: stopped.append(sig), weak=False)
    arguments = [f"--queues={','.join(queues)}", f"--pool={pool}", f"--concurrency={concurrency}"]
    # Nobody listens to its events; and a stop in the middle of sending one would wait for itself.
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat", *(["--beat"] if beat else [])]
    # It warns of running as root because of pickle, which is refused here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    try:
        app.start(["--quiet", "worker", *arguments])
    except SystemExit as left:
        return 0 if stopped else int(left.code or 0)
    return 0
