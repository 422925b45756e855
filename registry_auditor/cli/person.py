"""Who sits at the command line, and until when something holds that they say."""

from __future__ import annotations

import getpass
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.errors import UsageError

if TYPE_CHECKING:
    from registry_auditor.store.access import Author

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
NEVER = "never"

Owner = Annotated[str | None, typer.Option("--owner", metavar="WHO", help="Who takes care of it.")]


def author() -> Author:
    """The user of this process, as the log of writes names them."""
    from registry_auditor.store.access import Author

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        name = str(os.getuid())
    return Author(f"cli:{name}")


def until(text: str) -> datetime:
    """The time that `text` names: so long from now, or the beginning of a day, or a moment with its zone.

    Raises UsageError if it is none.
    """
    span = re.fullmatch(r"(\d{1,5})([hdw])", text)
    if span:
        return datetime.now(UTC) + int(span[1]) * UNITS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--expires {text!r} is no time: write 12h, 30d, 2w, 2027-01-31 or 2027-01-31T12:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
