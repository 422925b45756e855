"""What was read a moment ago, so that nobody can load the database by asking how it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

FRESH_S = 5.0
"""Three readings for every scrape at Prometheus' usual interval of 15 s would be too many; one is enough."""


class Recent(Generic[T]):
    """What `read` returned at most `fresh_s` seconds ago; threads that ask at once wait for one reading."""

    def __init__(self, read: Callable[[], T], *, fresh_s: float = FRESH_S) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None

    def __call__(self) -> T:
        """The value. Raises what `read` raises."""
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > self._fresh_s:
                value = self._read()
                self._kept = (time.monotonic(), value)
            return self._kept[1]
