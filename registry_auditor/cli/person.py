"""Who sits at the command line."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from registry_auditor.domain import Author

Owner = Annotated[str | None, typer.Option("--owner", metavar="WHO", help="Who takes care of it.")]


def author() -> Author:
    """The user of this process, as the log of writes names them."""
    from registry_auditor.domain import Author

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        name = str(os.getuid())
    return Author(f"cli:{name}")
