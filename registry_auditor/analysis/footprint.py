"""How much memory a stretch of work needed."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_RESET_PEAK = "5"  # see proc(5), clear_refs: resets the peak resident set size of the process


class PeakMemory:
    """The peak resident memory of this process from now on; files mapped into memory count while their pages are in."""

    def __init__(self) -> None:
        """Start measuring."""
        with contextlib.suppress(OSError):  # not on Linux, or not allowed: the peak is then the process's own
            Path("/proc/self/clear_refs").write_text(_RESET_PEAK)

    def bytes(self) -> int | None:
        """The peak so far; None where the system does not tell."""
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            return None
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found.group(1)) * 1024 if found else None
