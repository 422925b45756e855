"""How often somebody may ask."""

from __future__ import annotations

import ipaddress
import math
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import HTTPException, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_auditor.config import Settings

if TYPE_CHECKING:
    from limits.strategies import FixedWindowRateLimiter

FAILURES_PER_MINUTE = 60
"""A page that is opened without a session asks for a few things; a secret of 256 bits is guessed at no rate."""
MINUTE_S = 60
TOLD = "registry_auditor.rates"
"""Where a request keeps what its answer is to say."""


class Kind(StrEnum):
    """What is counted apart from each other."""

    READS = "reads"
    WRITES = "writes"
    FAILURES = "failures"


PROBLEMS = {
    Kind.READS: "this token was used too often",
    Kind.WRITES: "this token has written too often",
    Kind.FAILURES: "too many requests without a good token",
}


@dataclass(frozen=True)
class Limits:
    """Requests a minute: of each token, and without a good one of each address."""

    reads: int = 1200
    """20 a second, sustained."""
    writes: int = 1200
    failures: int = FAILURES_PER_MINUTE

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the settings."""
        return cls(settings.reads_per_minute, settings.writes_per_minute)


class Rates:
    """Counts what each process is asked; a second process counts for itself."""

    def __init__(self, limits: Limits) -> None:
        self._limits = {Kind.READS: limits.reads, Kind.WRITES: limits.writes, Kind.FAILURES: limits.failures}

    def use(self, request: Request, token_id: str, *, writes: bool) -> None:
        """Count a request of a token; its answer tells how many are left. Raises HTTPException: 429 for too many."""
        request.scope.get(TOLD, {}).update(self._counted(Kind.WRITES if writes else Kind.READS, token_id))

    def fail(self, address: str) -> None:
        """Count a request without a good token. Raises HTTPException: 429 if too many came from there."""
        # Whoever has an IPv6 address has 2⁶⁴ of them.
        self._counted(Kind.FAILURES, _network(address))

    def _counted(self, kind: Kind, who: str) -> dict[str, str]:
        """Headers that tell what is left.

        Source: draft-ietf-httpapi-ratelimit-headers-10.
        """
        from limits import RateLimitItemPerMinute

        most = self._limits[kind]
        item = RateLimitItemPerMinute(most, namespace=kind)
        allowed = self._limiter.hit(item, who)
        window = self._limiter.get_window_stats(item, who)
        wait_s = min(MINUTE_S, max(1, math.ceil(window.reset_time - time.time())))
        told = {
            "ratelimit-policy": f'"{kind}";q={most};w={MINUTE_S}',
            "ratelimit": f'"{kind}";r={max(0, window.remaining)};t={wait_s}',
        }
        if not allowed:
            detail = f"{PROBLEMS[kind]}: at most {most} {kind} a minute; come back in {wait_s} s"
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, detail, {"retry-after": str(wait_s), **told})
        return told

    @cached_property
    def _limiter(self) -> FixedWindowRateLimiter:
        # Imported with the first request: it costs a tenth of a second that a start has not.
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter

        return FixedWindowRateLimiter(MemoryStorage())


class Paced:
    """An application whose answers tell whoever has a token how often they may still ask."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        told: dict[str, str] = {}

        async def paced(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(told)
            await send(message)

        await self._app({**scope, TOLD: told}, receive, paced)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
