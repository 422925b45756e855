"""Row ids: UUIDs of version 7, so that sorting by id is sorting by age."""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import datetime, timedelta

from registry_auditor.errors import UsageError

_lock = threading.Lock()
_latest = 0


def uuid7() -> str:
    """A fresh id, larger than every earlier one of this process.

    Source: RFC 9562, section 6.2, method 3: 48 bits of milliseconds, 12 bits of their fraction, 62 random bits.
    Differs: a fraction that has been given away, or a clock set back, counts on from the latest one.
    """
    global _latest
    milliseconds, rest_ns = divmod(time.time_ns(), 1_000_000)
    with _lock:
        _latest = max((milliseconds << 12) | (rest_ns << 12) // 1_000_000, _latest + 1)
        stamp = _latest
    random = int.from_bytes(os.urandom(8)) >> 2
    return str(uuid.UUID(int=(stamp >> 12) << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | random))


def first_at(moment: datetime, *, apart: timedelta = timedelta()) -> str:
    """The smallest id that can have been made at `moment`, or so far from it; of all ids if that is before 1970."""
    # As a number: the sum may lie in a year that no time can name.
    milliseconds = min(max(int((moment.timestamp() + apart.total_seconds()) * 1000), 0), 2**48 - 1)
    return str(uuid.UUID(int=milliseconds << 80))


def span(prefix: str) -> tuple[str, str]:
    """The smallest and the largest id that begin with `prefix`.

    Raises UsageError if no id can begin so.
    """
    digits = prefix.strip().lower().replace("-", "")
    if not digits or len(digits) > 32 or set(digits) - set("0123456789abcdef"):
        raise UsageError(f"{prefix!r} is no id: give the id that a list command printed, or its first characters")
    return str(uuid.UUID(digits.ljust(32, "0"))), str(uuid.UUID(digits.ljust(32, "f")))
