"""Spans of time as people write them: `30d`."""

from __future__ import annotations

import re
from datetime import timedelta

from registry_auditor.errors import UsageError

UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST = timedelta(days=3650)


def duration(text: str) -> timedelta:
    """`90s`, `15min`, `12h`, `30d` or `4w`. Raises UsageError for anything else, nothing, or over ten years."""
    match = re.fullmatch(r"(\d{1,9})(s|min|h|d|w)", text.strip())
    span = timedelta(**{UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < span <= LONGEST:
        raise UsageError(f"{text!r} is no span of time; write it as 90s, 15min, 12h, 30d or 4w, ten years at most")
    return span


def age(span: timedelta) -> str:
    """A span in its largest unit: `30 days`, `1 hour`."""
    seconds = span.total_seconds()
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{int(seconds)} seconds"
