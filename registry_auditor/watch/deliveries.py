"""Webhook deliveries: each is a reason to look, and nothing in it is believed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from registry_auditor.errors import RegistryError, RegistryUnavailable, StoreError, UsageError, WeightsError
from registry_auditor.registries import resolve
from registry_auditor.store import Delivery
from registry_auditor.watch.watcher import Watcher, consider, look

logger = logging.getLogger(__name__)

BATCH = 500
REMEMBERED = timedelta(days=1)
"""For how long a repeated delivery is recognised."""


def answer_deliveries(watcher: Watcher) -> int:
    """Look at what webhooks named; how many audits were queued.

    Many deliveries about one model are one reason to look at it. Those that cannot be looked up before a registry
    answers are kept for the next time.
    """
    queued = 0
    while deliveries := watcher.store.deliveries.pending(BATCH):
        by_target: dict[str | None, list[Delivery]] = {}
        for delivery in deliveries:
            by_target.setdefault(delivery.target, []).append(delivery)
        answered: list[Delivery] = []
        for target, same in by_target.items():
            try:
                queued += _look_up(watcher, target)
            except RegistryUnavailable as error:
                logger.warning("%s: %s; it is looked up again", target, error)
                continue
            except (RegistryError, WeightsError, UsageError) as error:
                logger.warning("a webhook named %s: %s", target, error)
            except StoreError:
                raise
            except Exception:
                # What met a bug of ours must not hold up what others sent; polling will list it with the reason.
                logger.exception("a webhook named %s, which could not be looked up", target)
            answered += same
        _settle(watcher, answered)
        if len(answered) < len(deliveries):
            break
    return queued


def _look_up(watcher: Watcher, target: str | None) -> int:
    """Consider the model, look at the registry, or, where nothing is named, at all of them."""
    registries = [registry for name, registry in watcher.registries.items() if target in (None, name)]
    if registries or target is None:
        return sum(look(watcher, registry) for registry in registries)
    return int(consider(watcher, resolve(target, cache=watcher.cache), None))


def _settle(watcher: Watcher, answered: Sequence[Delivery]) -> None:
    watcher.store.deliveries.settle([delivery.id for delivery in answered if delivery.id is not None])
    watcher.store.deliveries.forget(datetime.now(UTC) - REMEMBERED)
