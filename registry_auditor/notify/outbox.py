"""From the outbox to the receivers: who hears of an audit, when it is tried, when it is given up."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from registry_auditor.config import Target
from registry_auditor.domain import Severity, Verdict
from registry_auditor.errors import NotFound, UsageError
from registry_auditor.notify import message
from registry_auditor.notify.addresses import Resolve, resolve
from registry_auditor.notify.endpoint import Endpoint, check_targets
from registry_auditor.notify.message import Message
from registry_auditor.notify.post import TIMEOUT_S, Answer, post
from registry_auditor.store import Notice, Store

logger = logging.getLogger(__name__)

MINUTE_S, HOUR_S = 60.0, 3600.0
SCHEDULE_S = (0.0, 5.0, 5 * MINUTE_S, 30 * MINUTE_S, *(hours * HOUR_S for hours in (2, 5, 10, 14, 20, 24)))
"""Wait before each attempt: the last one is made some three days after the first.

Source: Standard Webhooks 1.0.0, "Deliverability and reliability".
"""
JITTER = 0.2
"""A wait grows by up to this fraction, so that a receiver that comes back is not met by everything at once."""
LONGEST_WAIT_S = 24 * HOUR_S
"""However long a receiver asks to wait."""
BATCH = 16
"""Sent at once: few enough for a small receiver, enough that one that hangs does not hold up the rest for long."""


@dataclass(frozen=True)
class Terms:
    """How notices are sent; nothing here changes what they say."""

    schedule_s: Sequence[float] = SCHEDULE_S
    timeout_s: float = TIMEOUT_S
    resolve: Resolve = resolve
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random
    """Draws from 0..1, for the jitter."""


def due_targets(targets: Mapping[str, Target], verdict: Verdict, worst: Severity | None) -> list[str]:
    """Which targets hear of an audit that ended so; `worst` is the severity of its worst finding."""
    unclear = verdict in (Verdict.INCOMPLETE, Verdict.ERROR)
    return [
        name
        for name, target in targets.items()
        if (worst is not None and worst.at_least(target.severity)) or (unclear and target.incomplete)
    ]


def send_due(store: Store, targets: Mapping[str, Target], terms: Terms | None = None) -> int:
    """How many notices were due, BATCH at most; afterwards each is sent, waits for its next attempt, or is given up.

    At least once: killed between the answer and the commit, it sends the notice again, under the same id. Of several
    senders at once, each takes other notices. Raises UsageError, before any is taken, if a target cannot be used.
    """
    terms = terms or Terms()
    endpoints = check_targets(targets)
    notices = store.notices.due(limit=BATCH, lease_s=4 * terms.timeout_s)
    parcels: list[tuple[Notice, Endpoint, Message]] = []
    for notice in notices:
        if notice.target not in endpoints:
            _give_up(store, notice, f"there is no target {notice.target} in the settings any more")
            continue
        try:
            content = message.audit_finished(notice.id, store.audit(notice.audit), store.runs(notice.audit))
        except NotFound as error:
            _give_up(store, notice, str(error))
            continue
        parcels.append((notice, endpoints[notice.target], content))
    answers = post([parcel[1:] for parcel in parcels], timeout_s=terms.timeout_s, resolve=terms.resolve)
    for (notice, _, _), answer in zip(parcels, answers, strict=True):
        _settle(store, notice, answer, terms)
    return len(notices)


def send_test(name: str, targets: Mapping[str, Target], terms: Terms | None = None) -> Answer:
    """What a target answers to a signed message of type `test`. Raises UsageError if there is no such target."""
    if name not in targets:
        known = ", ".join(targets) or "none"
        raise UsageError(f"there is no target {name} in the settings; there are: {known}")
    terms = terms or Terms()
    endpoint = check_targets({name: targets[name]})[name]
    content = message.trial(str(uuid.uuid4()), name, terms.clock())
    return post([(endpoint, content)], timeout_s=terms.timeout_s, resolve=terms.resolve)[0]


def _settle(store: Store, notice: Notice, answer: Answer, terms: Terms) -> None:
    if answer.problem is None:
        store.notices.sent(notice.id)
        logger.info("audit %s: %s was told", notice.audit, notice.target)
        return
    if answer.status == HTTPStatus.GONE:
        _give_up(store, notice, answer.problem)
    elif notice.attempts >= len(terms.schedule_s):
        _give_up(store, notice, f"{answer.problem}; that was attempt {notice.attempts}, the last")
    else:
        asked_s = min(answer.retry_after_s or 0.0, LONGEST_WAIT_S)
        wait_s = max(terms.schedule_s[notice.attempts], asked_s) * (1 + JITTER * terms.chance())
        store.notices.failed(notice.id, answer.problem, retry_at=terms.clock() + timedelta(seconds=wait_s))
        logger.warning("audit %s: %s was not told: %s", notice.audit, notice.target, answer.problem)


def _give_up(store: Store, notice: Notice, problem: str) -> None:
    store.notices.failed(notice.id, problem, retry_at=None)
    logger.error("audit %s: %s will not be told: %s", notice.audit, notice.target, problem)
