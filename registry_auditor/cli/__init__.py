"""The command line: `registry-auditor`, and what its exit codes mean."""

from __future__ import annotations

import io
import logging
import os
import sys

import typer
from typer.exceptions import TyperException

from registry_auditor.errors import AuditorError, UsageError

EXIT_OPERATIONAL = 2
EXIT_USAGE = 4
EXIT_INTERRUPTED = 130
"""What shells use for a program that was stopped with Ctrl-C."""
EXIT_READER_LEFT = 141
"""And for one whose output nobody reads any more: neither "clean" nor "findings"."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    0 complete, nothing at or above --fail-on · 1 findings at or above it · 2 operational error · 3 incomplete ·
    4 usage or configuration error.
    """
    sys.exit(_exit_code(sys.argv[1:] if arguments is None else arguments))


def _exit_code(arguments: list[str]) -> int:
    from registry_auditor.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # JSON is UTF-8, and tokens are of any script, whatever the locale is
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    # Progress bars and advice of libraries would mix with ours; HF_* variables of the user stay as they are.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        logging.basicConfig(level=_log_level(), stream=sys.stderr)
        code = app(arguments, prog_name="registry-auditor", standalone_mode=False)
    except UsageError as error:
        return _failed(str(error), EXIT_USAGE)
    except AuditorError as error:
        return _failed(str(error), EXIT_OPERATIONAL)
    except SystemExit:
        # typer and rich leave with 1 when the reader of our output has seen enough, as in `… | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_READER_LEFT
    except TyperException as error:  # what the parser has against the arguments
        return _misused(error.format_message())
    except Exception as error:
        # Python leaves with 1 here, which a gate would read as "findings".
        logging.getLogger(__name__).exception("unexpected error")
        return _failed(f"{type(error).__name__}: {error}; this is a bug, please report it", EXIT_OPERATIONAL)
    if code == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
        return _failed("interrupted; run the same command again to go on where it stopped", EXIT_INTERRUPTED)
    return code if isinstance(code, int) else 0


def _log_level() -> str:
    wanted = os.environ.get("REGISTRY_AUDITOR_LOG", "WARNING").upper()
    known = logging.getLevelNamesMapping()
    if wanted not in known:
        raise UsageError(f"REGISTRY_AUDITOR_LOG is {wanted!r}, which is no log level; there are {', '.join(known)}")
    return wanted


def _misused(message: str) -> int:
    if message.startswith("Usage:"):  # a group of commands was named without one of them
        typer.echo(message, err=True)
        return EXIT_USAGE
    return _failed(f"{message} See: registry-auditor --help", EXIT_USAGE)


def _failed(message: str, code: int) -> int:
    typer.echo(f"registry-auditor: {message}", err=True)
    return code
