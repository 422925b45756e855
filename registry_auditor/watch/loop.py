"""Watching without end: folders are looked at as soon as they fall quiet, everything else when its time has come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import watchfiles

from registry_auditor.errors import StoreError
from registry_auditor.registries import FolderRegistry
from registry_auditor.watch.deliveries import answer_deliveries
from registry_auditor.watch.watcher import Watcher, look, look_around

logger = logging.getLogger(__name__)

TICK_S = 1.0
SLACK_S = 0.1
"""Between the moment at which a model has been quiet long enough and the look at it: clocks are coarse."""


def tend(watcher: Watcher) -> int:
    """Deal with deliveries and with the registries whose time has come; how many audits were queued."""
    return answer_deliveries(watcher) + look_around(watcher)


def watch(watcher: Watcher, stop: threading.Event) -> None:
    """Tend `watcher` until `stop` is set. A database that cannot be reached is tried again."""
    folders = {each.root: each for each in watcher.registries.values() if isinstance(each, FolderRegistry)}
    stirred: dict[Path, _Stir] = {}
    for roots in _stirrings(list(folders), stop):
        now = time.monotonic()
        for root in roots:
            stirred[root] = _Stir(stirred[root].since if root in stirred else now, now)
        ripe = [root for root, stir in stirred.items() if now - stir.since >= folders[root].settle_s + SLACK_S]
        try:
            queued = sum(look(watcher, folders[root]) for root in ripe) + tend(watcher)
        except StoreError as error:
            logger.warning("%s", error)
            continue
        for root in ripe:
            _, until = stirred.pop(root)
            if now - until < folders[root].settle_s + SLACK_S:  # what moved last was too fresh for this look
                stirred[root] = _Stir(until, until)
        if queued:
            logger.info("%d audits queued", queued)


class _Stir(NamedTuple):
    """When something began to change under a folder, and when something did last."""

    since: float
    until: float


def _stirrings(roots: list[Path], stop: threading.Event) -> Iterator[set[Path]]:
    """Under which of `roots` something changed, at least once a tick; the first time, nothing."""
    yield set()
    if not roots:
        while not stop.is_set():
            time.sleep(TICK_S)
            yield set()
        return
    try:
        for changes in watchfiles.watch(
            *roots,
            watch_filter=None,
            stop_event=stop,
            step=int(TICK_S * 200),
            rust_timeout=int(TICK_S * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            touched = [Path(path) for _, path in changes]
            yield {root for root in roots if any(path.is_relative_to(root) for path in touched)}
    except OSError as error:  # such as no inotify watches left: polling finds everything, only later
        logger.warning("changes are not noticed at once, only by polling: %s", error)
        yield from _stirrings([], stop)
