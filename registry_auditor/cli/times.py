"""Times as people type them: so long ago or from now, a day, a moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from registry_auditor.errors import UsageError

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def until(text: str) -> datetime:
    """That long from now, or the beginning of a day, or a moment; UTC if no zone is given. Raises UsageError."""
    return _time(text, towards=1)


def ago(text: str) -> datetime:
    """That long ago, or the beginning of a day, or a moment; UTC if no zone is given. Raises UsageError."""
    return _time(text, towards=-1)


def _time(text: str, *, towards: int) -> datetime:
    if span := re.fullmatch(r"(\d{1,4})([hdw])", text):
        return datetime.now(UTC) + towards * int(span[1]) * UNITS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time: write 12h, 30d, 2w, 2027-01-31 or 2027-01-31T12:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
