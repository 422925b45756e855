"""What commands that run until they are stopped share: settings that their children see, cores, and being stopped."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import Any

from registry_auditor.config import PREFIX, Settings, load
from registry_auditor.errors import UsageError


def export(**given: Any) -> Settings:
    """The settings with `given` values (None: as they were), which this process and its children see from now on.

    Raises UsageError for a value that does not fit.
    """
    settings = load(**given)
    for key, value in given.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            os.environ[f"{PREFIX}{key}".upper()] = text
    for spec in settings.registries:
        scheme, _, address = spec.partition(":")
        if scheme == "mlflow" and address:
            os.environ["MLFLOW_TRACKING_URI"] = address  # so that workers can open what the watcher has seen
    return settings


def spare_the_cores(processes: int) -> None:
    """Give each of `processes` its share of the cores, unless the user has decided; before torch is imported."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    # Threads that spin while they wait make two processes on two cores several times slower than one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def require_something_to_watch(settings: Settings) -> None:
    """Raise UsageError if there is neither a registry nor a hook in `settings`."""
    if not settings.registries and not settings.hooks:
        raise UsageError("nothing to watch: pass --registry dir:FOLDER, or set `registries` in auditor.toml")


def stop_signal() -> threading.Event:
    """Set as soon as SIGTERM or Ctrl-C says to stop; look with `is_set` from the main thread.

    There `wait` holds, for a moment, the lock that the handler of the signal needs.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
