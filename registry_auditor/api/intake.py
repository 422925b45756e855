"""Deliveries are committed before they are answered, and many together: a transaction costs more than its rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from registry_auditor.store import Delivery

Accept = Callable[[Sequence[Delivery]], int]


class Intake:
    """Hands deliveries to `accept`, together with those that arrived while it was busy; for one event loop."""

    def __init__(self, accept: Accept) -> None:
        self.duplicates = 0
        """How many were known already."""
        self._accept = accept
        self._busy = asyncio.Lock()
        self._batch: list[Delivery] = []
        self._written: asyncio.Task[None] | None = None

    async def put(self, deliveries: Sequence[Delivery]) -> None:
        """Return once `deliveries` are committed. Raises what `accept` raises, and then none of them is."""
        if self._written is None:
            self._written = asyncio.create_task(self._write())
        self._batch.extend(deliveries)
        # A sender that hangs up must not take the others of its batch along.
        await asyncio.shield(self._written)

    async def _write(self) -> None:
        async with self._busy:
            batch, self._batch, self._written = self._batch, [], None
            self.duplicates += len(batch) - await asyncio.to_thread(self._accept, batch)
