"""One look at a registry: what it shows leads to one audit, or to a reason why not."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from registry_auditor.analysis.analyzer import Step
from registry_auditor.analysis.discover import queue_of
from registry_auditor.config import Settings
from registry_auditor.domain import BaseSource, Job, ModelRef, Severity, digest_of
from registry_auditor.errors import RegistryError, RegistryUnavailable, StoreError, WeightsError
from registry_auditor.registries import Cache, Registry, claim_of, resolve_claim, watched
from registry_auditor.store import Store, Watched

logger = logging.getLogger(__name__)

PAGE = 200


@dataclass(frozen=True)
class Again:
    """Models of one registry that are to be looked at again."""

    orphans: set[ModelRef] = field(default_factory=set)
    """Whose base was not to be found: when something new comes."""
    unreached: set[ModelRef] = field(default_factory=set)
    """Of which a registry could not be asked: at every look."""


@dataclass(frozen=True)
class Watcher:
    """What is watched, and which audits follow from it."""

    store: Store
    registries: Mapping[str, Registry]
    """By what the settings call them."""
    cache: Cache
    plan: tuple[Step, ...]
    fail_on: Severity = Severity.HIGH
    poll_s: float = 60.0
    full_pass_s: float = 3600.0
    again: dict[str, Again] = field(default_factory=dict)
    """By registry. Kept in memory only: the first look of a process is at everything."""

    @classmethod
    def of(cls, settings: Settings, store: Store, plan: Sequence[Step]) -> Watcher:
        """The watcher that the settings describe. Raises UsageError for a registry that cannot be watched."""
        cache = Cache(*settings.downloads)
        registries = {spec: watched(spec, cache=cache, settle_s=settings.settle_s) for spec in settings.registries}
        return cls(store, registries, cache, tuple(plan), settings.fail_on, settings.poll_s, settings.full_pass_s)

    @property
    def plan_digest(self) -> str:
        """Changes when an analyzer, its version or a parameter does."""
        return digest_of([[key.analyzer, key.version, key.params] for key in (step.key for step in self.plan)])


def look_around(watcher: Watcher) -> int:
    """Look at every registry whose time has come; how many audits were queued.

    Called twice, or by two watchers at once, it queues nothing twice.
    """
    queued, now = 0, datetime.now(UTC)
    for registry in watcher.registries.values():
        state = watcher.store.watched.get(registry.spec)
        full = state.full_at is None or (now - state.full_at).total_seconds() >= watcher.full_pass_s
        if full or state.polled_at is None or (now - state.polled_at).total_seconds() >= watcher.poll_s:
            queued += look(watcher, registry, full=full)
    return queued


def look(watcher: Watcher, registry: Registry, *, full: bool = False) -> int:
    """Deal with what changed in `registry` since the last look, or with everything; how many audits were queued.

    Afterwards the cursor stands behind what was dealt with, and what was wrong with the registry is known.
    """
    full = full or registry.spec not in watcher.again
    again = watcher.again.setdefault(registry.spec, Again())
    unreached, orphans = tuple(again.unreached), tuple(again.orphans)
    state = watcher.store.watched.get(registry.spec)
    started = datetime.now(UTC)
    queued, changed, cursor, problem = 0, False, None if full else state.cursor, None
    try:
        for change in registry.changes(cursor):
            changed = True
            if change.problem is None:
                queued += _consider_or_keep(watcher, change.model, registry)
            else:
                watcher.store.sightings.record(change.model, skipped=change.problem, registry=registry.spec)
            cursor = change.cursor or cursor
    except (RegistryError, OSError) as error:
        problem = str(error)
        logger.warning("%s: %s", registry.spec, error)
    queued += _look_again(watcher, registry, (*unreached, *(orphans if changed else ())))
    if state.plan != watcher.plan_digest:
        queued += _requeue(watcher, registry)
    full_at = started if full and problem is None else state.full_at
    watcher.store.watched.save(Watched(registry.spec, cursor, watcher.plan_digest, started, full_at, problem))
    return queued


def consider(watcher: Watcher, model: ModelRef, registry: Registry | None) -> bool:
    """Whether an audit of `model` was queued now; what is no fine-tune is noted with the reason.

    Raises RegistryUnavailable if that cannot be told before a registry answers.
    """
    spec = registry.spec if registry else None
    base, source, why = _base_of(watcher, model)
    watcher.store.sightings.record(model, base=base, source=source, skipped=why, registry=spec)
    if why is None:
        return _ensure(watcher, model, base, source)
    if source is not None and spec is not None:
        watcher.again[spec].orphans.add(model)
    return False


def _consider_or_keep(watcher: Watcher, model: ModelRef, registry: Registry) -> bool:
    """`consider`, or, while a registry does not answer, keep the model for the next look, and say why."""
    try:
        return consider(watcher, model, registry)
    except RegistryUnavailable as error:
        watcher.again[registry.spec].unreached.add(model)
        why = f"{error}; it is looked at again"
    except StoreError:
        raise
    except Exception as error:
        # A stranger's model that met a bug of ours must not keep all others from being audited.
        logger.exception("%s could not be considered", model)
        why = f"{type(error).__name__}: {error}; this is a bug, please report it"
    watcher.store.sightings.record(model, skipped=why, registry=registry.spec)
    return False


def _look_again(watcher: Watcher, registry: Registry, kept: Iterable[ModelRef]) -> int:
    """Consider what was kept for this look."""
    again, queued = watcher.again[registry.spec], 0
    for model in kept:
        again.unreached.discard(model)
        again.orphans.discard(model)
        queued += _consider_or_keep(watcher, model, registry)
    return queued


def _base_of(watcher: Watcher, model: ModelRef) -> tuple[ModelRef | None, BaseSource | None, str | None]:
    """The base, who says so, and why there is none. Raises RegistryUnavailable while that cannot be told."""
    source = None
    try:
        claim = claim_of(model, cache=watcher.cache)
        if claim is None:
            return None, None, "names no base, so it is no fine-tune that could be compared with one"
        source = claim.source
        base = resolve_claim(model, claim, cache=watcher.cache, among=tuple(watcher.registries.values()))
    except RegistryUnavailable:
        raise
    except (RegistryError, WeightsError) as error:
        return None, source, str(error)
    return base, source, None


def _ensure(watcher: Watcher, model: ModelRef, base: ModelRef | None, source: BaseSource | None) -> bool:
    keys = tuple(step.key for step in watcher.plan)
    _, new = watcher.store.ensure(Job(model, base, source, watcher.fail_on, keys, queue_of(watcher.plan)))
    return new


def _requeue(watcher: Watcher, registry: Registry) -> int:
    """Queue the newest revision of every model of `registry` for the plan of today, where it has not been."""
    queued, after = 0, None
    while True:
        page = watcher.store.sightings.newest(registry.spec, limit=PAGE, after=after)
        for sighting in page.items:
            if sighting.skipped is None:
                queued += _ensure(watcher, sighting.model, sighting.base, sighting.base_source)
        if page.next is None:
            return queued
        after = page.next
