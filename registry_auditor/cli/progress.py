"""How far an audit is: bars on a terminal, plain lines otherwise, both on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

LINE_EVERY_S = 10.0
Tell = Callable[[str, int, int], None]


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Tell]:
    """A function to be told what is being done, and how many of how many parts of it are."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda what, done, total: None
    elif console.is_terminal:
        with _bars(console) as tell:
            yield tell
    else:
        yield _lines()


@contextmanager
def _bars(console: Console) -> Iterator[Tell]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done + 1, total=total)

        yield tell


def _lines() -> Tell:
    started: dict[str, float] = {}
    spoken: dict[str, float] = {}

    def tell(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun = started.setdefault(what, now)
        if now - spoken.setdefault(what, begun) < LINE_EVERY_S:
            return
        spoken[what] = now
        left = (now - begun) / max(done, 1) * (total - done)
        typer.echo(f"{what}: {done} of {total}, about {left:.0f} s left", err=True)

    return tell
