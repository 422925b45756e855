"""From what somebody asked for by name to a job that can be carried out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
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


def settled(job: Job, steps: Sequence[Step], settings: Settings) -> Job:
    """`job` with the revisions that its names mean now, the base that its model claims, and `steps` as its plan.

    A base that cannot be found is left out: what needs one is skipped, and says so. Raises RegistryUnavailable while a
    registry cannot tell, RegistryError or WeightsError if there is no such model, UsageError for a registry that is
    not known.
    """
    cache = Cache(*settings.downloads)
    model = resolve(str(job.model), cache=cache)
    if job.base is None:
        base, source = _claimed(model, settings, cache)
    else:
        base, source = resolve(str(job.base), cache=cache), job.base_source or BaseSource.OPERATOR
    keys = tuple(step.key for step in steps)
    return Job(model, base, source, job.fail_on, keys, queue_of(steps), job.wish)


def _claimed(model: ModelRef, settings: Settings, cache: Cache) -> tuple[ModelRef | None, BaseSource | None]:
    claim = claim_of(model, cache=cache)
    if claim is None:
        return None, None
    registries = tuple(watched(spec, cache=cache, settle_s=settings.settle_s) for spec in settings.registries)
    try:
        return resolve_claim(model, claim, cache=cache, among=registries), claim.source
    except RegistryUnavailable:
        raise
    except RegistryError as error:
        logger.warning("going on without a base: %s", error)
        return None, None
