"""How things stand, as health and metrics tell it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from registry_auditor.domain import NoticeState
from registry_auditor.errors import StoreError
from registry_auditor.store import Backlog, RunTotal, Schema, SchemaState, Store, Watched, check

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """What the store says about itself at one moment."""

    schema: Schema
    backlog: tuple[Backlog, ...] = ()
    totals: tuple[RunTotal, ...] = ()
    watched: tuple[Watched, ...] = ()
    notices: Mapping[NoticeState, int] = field(default_factory=dict)


def reader(store: Store, db: str) -> Callable[[], Standing | None]:
    """A function that reads how things stand; None if the database cannot be used, and the log says why."""

    def read() -> Standing | None:
        try:
            schema = check(db)
            if schema.state is not SchemaState.CURRENT:
                return Standing(schema)
            return Standing(
                schema=schema,
                backlog=tuple(store.backlog()),
                totals=tuple(store.run_totals()),
                watched=tuple(store.watched.list()),
                notices=store.notices.totals(),
            )
        except StoreError as error:
            logger.error("%s", error)
            return None

    return read


def age_s(moment: datetime | None) -> float:
    """Seconds since `moment`; 0 if there is none, or if it lies ahead."""
    return 0.0 if moment is None else max(0.0, (datetime.now(UTC) - moment).total_seconds())


def without_secrets(text: str) -> str:
    """`text` without what stands before the host of an address in it, or in its query."""
    return re.sub(r"(?<=://)[^/@\s]+(?=@)|(?<=\?)[^\s?]+", "***", text)
