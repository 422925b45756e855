"""Child processes that live and die together."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Self

import typer

from registry_auditor.errors import AuditorError

CLOSING_S = 15.0
"""For what children do after their audits: closing connections, ending their own children."""
RESTARTS = 5
RESTARTED_WITHIN_S = 60.0
PR_SET_PDEATHSIG = 1


@dataclass
class _Child:
    name: str
    command: list[str]
    process: subprocess.Popen[bytes]
    born: list[float] = field(default_factory=list)


class Household:
    """Processes of our own command, the one that the others need first.

    One that ends is started again; leaving the context ends them all.
    """

    def __init__(self, *, grace_s: float) -> None:
        """Nobody yet; `grace_s` is what workers let their audits take to finish."""
        self._grace_s = grace_s
        self._children: list[_Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, *arguments: str) -> None:
        """Start `registry-auditor ARGUMENTS`."""
        command = [sys.executable, "-m", "registry_auditor", *arguments]
        self._children.append(_Child(name, command, _spawn(command), [time.monotonic()]))

    def tend(self) -> None:
        """Start again what has ended. Raises AuditorError if that does not help."""
        for child in self._children:
            code = child.process.poll()
            if code is None:
                continue
            now = time.monotonic()
            child.born = [born for born in child.born if now - born < RESTARTED_WITHIN_S]
            if len(child.born) >= RESTARTS or (code in (2, 4) and not child.born[1:]):
                raise AuditorError(f"the {child.name} ended with exit code {code}; its message is above")
            typer.echo(f"registry-auditor: the {child.name} ended with exit code {code} and is started again", err=True)
            child.process = _spawn(child.command)
            child.born.append(now)

    def stop(self) -> None:
        """End all children, the first one last: politely, and after a while for good."""
        first, others = self._children[:1], self._children[1:]
        for generation in (others, first):
            for child in generation:
                child.process.terminate()
            deadline = time.monotonic() + self._grace_s + CLOSING_S
            for child in generation:
                try:
                    child.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()


def _spawn(command: list[str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal reaches the parent alone, which then stops everybody in order.
    return subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_the_parent)


def _die_with_the_parent() -> None:
    """Where the system can: a killed parent leaves no orphans."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
