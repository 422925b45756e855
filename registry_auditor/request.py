"""From what somebody asked for by name to a job that can be carried out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry_auditor.analysis.analyzer import Step
from registry_auditor.analysis.discover import plan, queue_of
from registry_auditor.config import Settings
from registry_auditor.domain import BaseSource, Job, ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries import Cache, claim_of, resolve, resolve_claim, watched

logger = logging.getLogger(__name__)


def steps_of(job: Job, settings: Settings) -> list[Step]:
    """What `job` is to be examined with here: what it wishes for, else what the settings select.

    Raises UsageError for an analyzer that is not installed, or a parameter that it does not have.
    """
    if not job.wish:
        return plan(settings.select, settings.analyzers)
    given: dict[str, Mapping[str, Any]] = {**settings.analyzers}
    for name, params in job.wish.items():
        given[name] = {**given.get(name, {}), **params}
    return plan(sorted(job.wish), given)  # a JSON object has no order that every database keeps


@dataclass(frozen=True)
class Found:
    """What the names in a request mean now."""

    model: ModelRef
    base: ModelRef | None = None
    source: BaseSource | None = None
    """Who says that it is the base."""
    problem: str | None = None
    """Why the base that the model claims is left out: what needs one is skipped, and says so."""


def settled(job: Job, steps: Sequence[Step], settings: Settings) -> Job:
    """`job` with the revisions that its names mean now, the base that its model claims, and `steps` as its plan.

    Raises as `find` does, and RegistryUnavailable also while a registry cannot tell about the base.
    """
    found = find(str(job.model), None if job.base is None else str(job.base), settings, waits=True)
    if found.problem:
        logger.warning("going on without a base: %s", found.problem)
    source = job.base_source or found.source if job.base else found.source
    return Job(found.model, found.base, source, job.fail_on, tuple(s.key for s in steps), queue_of(steps), job.wish)


def find(model: str, base: str | None, settings: Settings, *, waits: bool) -> Found:
    """The model and its base; without `base`, the one that the model claims, if that can be found.

    Raises RegistryError or WeightsError if there is no such model, UsageError for a registry that is not known, and, if
    the caller `waits`, RegistryUnavailable while a registry cannot tell about the base.
    """
    cache = Cache(*settings.downloads)
    tuned = resolve(model, cache=cache)
    if base is not None:
        return Found(tuned, resolve(base, cache=cache), BaseSource.OPERATOR)
    claim = claim_of(tuned, cache=cache)
    if claim is None:
        return Found(tuned)
    registries = tuple(watched(spec, cache=cache, settle_s=settings.settle_s) for spec in settings.registries)
    try:
        return Found(tuned, resolve_claim(tuned, claim, cache=cache, among=registries), claim.source)
    except RegistryError as error:
        if waits and isinstance(error, RegistryUnavailable):
            raise
        return Found(tuned, problem=str(error))
