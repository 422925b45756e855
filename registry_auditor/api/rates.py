"""How often somebody may ask."""

from __future__ import annotations

import ipaddress
import math
import time
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import HTTPException

if TYPE_CHECKING:
    from limits.strategies import FixedWindowRateLimiter

FAILURES_PER_MINUTE = 60
"""A page that is opened without a session asks for a few things; a secret of 256 bits is guessed at no rate."""


class Rates:
    """Counts what each process is asked; a second process counts for itself."""

    def __init__(self, *, per_minute: int) -> None:
        """`per_minute`: of each token."""
        self._per_minute = per_minute

    def use(self, token_id: str) -> None:
        """Count a request of a token. Raises HTTPException: 429 if there were too many."""
        self._count("token", token_id, self._per_minute, "this token was used too often")

    def fail(self, address: str) -> None:
        """Count a request without a good token. Raises HTTPException: 429 if too many came from there."""
        # Whoever has an IPv6 address has 2⁶⁴ of them.
        self._count("failure", _network(address), FAILURES_PER_MINUTE, "too many requests without a good token")

    def _count(self, kind: str, who: str, per_minute: int, problem: str) -> None:
        from limits import RateLimitItemPerMinute

        item = RateLimitItemPerMinute(per_minute, namespace=kind)
        if not self._limiter.hit(item, who):
            wait_s = max(1, math.ceil(self._limiter.get_window_stats(item, who).reset_time - time.time()))
            raise HTTPException(
                HTTPStatus.TOO_MANY_REQUESTS, f"{problem}; come back in {wait_s} s", {"retry-after": str(wait_s)}
            )

    @cached_property
    def _limiter(self) -> FixedWindowRateLimiter:
        # Imported with the first request: it costs a tenth of a second that a start has not.
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter

        return FixedWindowRateLimiter(MemoryStorage())


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
