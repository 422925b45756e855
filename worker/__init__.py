"""The Celery worker: an edge around `registry_auditor.audit` and `registry_auditor.watch`."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Sequence
from typing import Any

CONTROL = "control"
"""The queue of what takes moments and must not wait behind an audit."""


def run(queues: Sequence[str], *, pool: str, concurrency: int, beat: bool) -> int:
    """Work on `queues` until a signal says to stop; the exit code, 0 if one did.

    What is at work then may finish within `grace_s`; after that it is stopped, and gives its audit back.
    """
    from celery import signals
    from celery.platforms import SecurityWarning

    from registry_auditor.worker.app import app
    from registry_auditor.worker.duties import settings

    stopped: list[str] = []

    def last_call(*_: object) -> None:
        if pool == "solo":
            raise SystemExit(0)  # we are within the audit itself
        os.kill(os.getpid(), signal.SIGQUIT)

    def stop(how: str, **_: Any) -> None:
        if not stopped:
            signal.signal(signal.SIGALRM, last_call)
            signal.setitimer(signal.ITIMER_REAL, max(settings().grace_s, 0.001))
        stopped.append(how)

    signals.worker_shutting_down.connect(stop, weak=False)
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
