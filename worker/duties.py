"""What the tasks do, on a store and the settings; a broker is met only as a function that sends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from registry_auditor import logs, notify, watch
from registry_auditor.analysis.analyzer import Step
from registry_auditor.analysis.device import chosen
from registry_auditor.analysis.discover import discover, plan
from registry_auditor.audit import Terms, audit, conclude, failed, introduced
from registry_auditor.config import Settings, load
from registry_auditor.domain import Audit, Queue, StepKey
from registry_auditor.errors import Conflict, RegistryError, RegistryUnavailable, UsageError, WeightsError
from registry_auditor.registries import Cache
from registry_auditor.request import settled, steps_of
from registry_auditor.store import Store
from registry_auditor.store.lease import lease
from registry_auditor.worker.limits import time_limits

logger = logging.getLogger(__name__)

WINDOW = 64
"""How many messages may wait in a queue of the broker: enough for every worker, few enough to lose or repeat."""
PATIENCE_S = 24 * 3600.0
"""How long a registry may be out of reach before its audits are given up."""
SHORTEST_DELAY_S, LONGEST_DELAY_S = 30.0, 3600.0


@cache
def settings() -> Settings:
    """Read once a process."""
    return load()


@cache
def store() -> Store:
    """Opened once a process, after the fork: connections cannot be shared."""
    return Store.open(settings().db, banks=settings().banks)


@cache
def steps() -> tuple[Step, ...]:
    """What this installation audits with."""
    return tuple(plan(settings().select, settings().analyzers))


@cache
def introduce() -> None:
    """Show the store which analyzers this installation has, once a process."""
    store().analyzers.save(introduced(discover().values()))


def take_up(audit_id: str, store: Store, settings: Settings) -> None:
    """Carry out an audit, unless it is done or in other hands.

    Afterwards it is done, or waits again because its registry is out of reach. An analyzer in which `max_claims`
    workers died is given up; the others still run.
    """
    record = store.audit(audit_id)
    with logs.about(audit_id), lease(record, store, lease_s=settings.lease_s) as worker:
        if worker is None:
            logger.info("done, or in other hands")
            return
        terms = Terms(
            chosen(settings.device),
            settings.timeout_s,
            cache=Cache(*settings.downloads),
            announce=partial(notify.due_targets, settings.notifications),
        )
        try:
            record = _carry_out(replace(record, holder=worker), store, settings, terms)
        except RegistryUnavailable as error:
            record = _postpone(record, store, worker, terms, error)
        except Conflict as error:
            store.postpone(audit_id, worker, delay_s=SHORTEST_DELAY_S, reason=str(error))
            record = store.audit(audit_id)
        except (RegistryError, WeightsError, UsageError) as error:
            record = conclude(record, store, terms, failure=str(error))
        logger.info("%s: %s", record.verdict or "goes on elsewhere or later", record.reason)


def _carry_out(record: Audit, store: Store, settings: Settings, terms: Terms) -> Audit:
    """The audit, done; or given back, if it turns out that workers of the other queue must do it."""
    installed = steps() if record.job.wish is None else steps_of(record.job, settings)
    if not record.job.plan:
        if record.claims >= settings.max_claims:
            raise RegistryError(
                f"given up: {record.claims} workers died looking for {record.job.model}; see their logs"
            )
        job = settled(record.job, installed, settings)
        worker = record.holder or ""
        found = store.requests.settle(record.id, worker, job)
        store.sightings.record(job.model, base=job.base, source=job.base_source)
        if job.queue is not record.job.queue:
            store.release(record.id, worker)
            return store.audit(record.id)
        record = replace(found, claims=record.claims)
    given_up = _given_up(record, store, settings.max_claims)
    if given_up < set(record.job.plan) and not audit(record, store, installed, terms, given_up=given_up):
        return store.audit(record.id)
    return conclude(record, store, terms)


def dispatch(queue: Queue, store: Store, settings: Settings, *, depth: int, send: Callable[..., Any]) -> None:
    """Send what waits in the database to a queue that holds `depth` messages, oldest first.

    An empty queue gets everything that waits, since whatever was sent before is lost or taken up.
    """
    if depth >= WINDOW:
        return
    ids = store.waiting(queue, limit=WINDOW - depth, unsent=depth > 0)
    store.sent(ids)  # before they are: one that is taken up and given back in between waits again, unsent
    for audit_id in ids:
        send((audit_id,), queue=queue.value, **time_limits(settings, len(steps())))


@cache
def watcher() -> watch.Watcher:
    """Made once a process: it remembers what is to be looked at again."""
    introduce()
    return watch.Watcher.of(settings(), store(), steps())


def announce(store: Store, settings: Settings) -> None:
    """Send the notices that are due."""
    while notify.send_due(store, settings.notifications):
        pass  # what could not be sent is due later


def _given_up(record: Audit, store: Store, max_claims: int) -> set[StepKey]:
    """The steps that are not tried (again): none, until too many workers died with this audit in hand.

    Then all that were tried, and the next one, which is what they died in. `record` is from before the latest claim.
    """
    if record.claims < max_claims:
        return set()
    tried = {stored.run.step for stored in store.runs(record.id)}
    blamed = next((key for key in record.job.plan if key not in tried), None)
    if blamed is None:
        return tried
    reason = f"given up: {record.claims} workers died or fell silent here; see their logs for audit {record.id}"
    store.save(record.id, failed(record, blamed, reason))
    return {*tried, blamed}


def _postpone(record: Audit, store: Store, worker: str, terms: Terms, error: RegistryUnavailable) -> Audit:
    """Back to the queue for as long as the registry asks, or half the time that it has been out of reach."""
    now = datetime.now(UTC)
    age_s = (now - (record.started_at or now)).total_seconds()
    if age_s > PATIENCE_S:
        return conclude(record, store, terms, failure=f"given up after {age_s / 3600:.0f} hours: {error}")
    delay_s = error.retry_after_s or min(max(age_s / 2, SHORTEST_DELAY_S), LONGEST_DELAY_S)
    store.postpone(record.id, worker, delay_s=delay_s, reason=str(error))
    return store.audit(record.id)
