"""Holding an audit: one worker at a time, for as long as it gives signs of life."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from registry_auditor.domain import Audit
from registry_auditor.errors import StoreError
from registry_auditor.store import Store

logger = logging.getLogger(__name__)

LEASE_S = 60.0
"""How long an audit stays with a worker that gives no sign of life."""


@contextmanager
def lease(record: Audit, store: Store, *, lease_s: float = LEASE_S) -> Iterator[str | None]:
    """Hold `record` for this process, renewed in the background; yields the worker's name, None if it is not free.

    Asked to stop, by Ctrl-C or SystemExit, it gives the audit back to the queue, and the claim does not count.
    """
    worker = f"{socket.gethostname()}:{os.getpid()}"
    held = store.claim(record.id, worker, lease_s=lease_s, dead=record.holder if _is_gone(record.holder) else None)
    if not held:
        yield None
        return
    stop = threading.Event()
    heartbeat = threading.Thread(
        target=_renew, args=(record.id, worker, store, lease_s, stop), name=f"lease of {record.id}", daemon=True
    )
    heartbeat.start()
    try:
        yield worker
    except (KeyboardInterrupt, SystemExit):
        stop.set()
        store.release(record.id, worker)
        raise
    finally:
        stop.set()
        heartbeat.join()


def _renew(audit_id: str, worker: str, store: Store, lease_s: float, stop: threading.Event) -> None:
    while not stop.wait(lease_s / 4):
        try:
            if not store.renew(audit_id, worker, lease_s=lease_s):
                # Two at once do no harm: of each step one result is kept.
                logger.warning(
                    "audit %s was cancelled, or its lease had run out and somebody else took it up", audit_id
                )
                return
        except StoreError as error:  # the next attempt may succeed; what is lost at worst is the lease
            logger.warning("the lease of %s could not be renewed: %s", audit_id, error)


def _is_gone(worker: str | None) -> bool:
    """Whether `worker` was a process of this machine that is no more."""
    host, _, pid = (worker or "").rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, and belongs to somebody else
    return False
