"""Builds many networks: each as soon as what it is made from is finished, in as many processes as there may be."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path

from filelock import FileLock

from registry_auditor.errors import AuditorError
from registry_auditor.testbed.making import Case, make
from registry_auditor.testbed.recipe import RecipeFailed

Progress = Callable[[str, float], None]
"""Called with the name of a case and how much of it is done, 0..1; 1 once for each that is there in the end."""


LOOK_EVERY_S = 0.2
TELL_EVERY = 20
"""Steps of a training."""


@dataclass
class Built:
    """What a build came to."""

    folders: dict[str, Path] = field(default_factory=dict)
    """By the name of the case; only what is finished and keeps its claims."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why there is no folder, by the name of the case."""
    reused: int = 0
    """How many of the folders were there before."""


def build_all(
    cases: Sequence[Case], directory: Path, *, jobs: int = 1, progress: Progress = lambda name, fraction: None
) -> Built:
    """After this the folder of every case is finished, or the result says why there is none.

    Parents are among the `cases`, before what is made from them. What is there already from the same recipe, parents
    and seed is kept; anything else of that name is replaced. Two builders at once wait for each other. An interrupted
    build leaves nothing that is taken for a network, and is gone on with by the next. With more than one of `jobs` the
    cases have to be such that they can be pickled.

    Raises:
        UsageError: a folder of that name stands in `directory` and is no part of a testbed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / ".lock"):
        build = _Build(directory, progress)
        build.waiting = [case for case in cases if not build.reuses(case)]
        if jobs == 1 or len(build.waiting) < 2:
            _one_by_one(build)
        else:
            _side_by_side(build, jobs)
    return build.built


@dataclass
class _Build:
    """A build that is going on."""

    directory: Path
    progress: Progress
    built: Built = field(default_factory=Built)
    waiting: list[Case] = field(default_factory=list)

    def reuses(self, case: Case) -> bool:
        """Whether `case` is there already."""
        there = case.is_finished(self.directory)
        if there:
            self.built.reused += 1
            self.finish(case)
        return there

    def finish(self, case: Case) -> None:
        self.built.folders[case.name] = case.folder(self.directory)
        self.progress(case.name, 1.0)

    def next(self) -> Case | None:
        """Take a case whose parents are finished from those that wait, bases first; give up those that have none."""
        for case in list(self.waiting):
            lost = [parent.name for parent in case.parents if parent.name in self.built.failed]
            if lost:
                self.waiting.remove(case)
                self.built.failed[case.name] = f"{lost[0]} failed, which it is made from"
        ready = [case for case in self.waiting if all(each.name in self.built.folders for each in case.parents)]
        chosen = min(ready, key=lambda case: len(case.parents), default=None)
        if chosen:
            self.waiting.remove(chosen)
        return chosen

    @contextmanager
    def ending(self, case: Case) -> Iterator[None]:
        """Note how making `case` ends."""
        try:
            yield
        except RecipeFailed as error:
            self.built.failed[case.name] = str(error)
            self.progress(case.name, 1.0)
        else:
            self.finish(case)


def _one_by_one(build: _Build) -> None:
    while case := build.next():
        with build.ending(case):
            make(case, build.directory, partial(build.progress, case.name))


def _side_by_side(build: _Build, jobs: int) -> None:
    context = multiprocessing.get_context("spawn")  # a fork of a process whose torch has threads may hang
    stop, told = context.Event(), context.SimpleQueue()
    running: dict[Future[None], Case] = {}
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(stop, told)) as pool:
        try:
            while True:
                while len(running) < jobs and (case := build.next()):
                    running[pool.submit(_work, case, build.directory)] = case
                if not running:
                    return
                done, _ = wait(running, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
                while not told.empty():
                    build.progress(*told.get())
                for future in done:
                    with build.ending(running.pop(future)):
                        future.result()
        finally:
            stop.set()


class Stopped(AuditorError):
    """The builder ended before its worker."""


class _Worker:
    """What a process that makes networks shares with its builder."""

    stop: Event
    told: SimpleQueue[tuple[str, float]]


def _begin(stop: Event, told: SimpleQueue[tuple[str, float]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the builder says when to stop
    _Worker.stop, _Worker.told = stop, told


def _work(case: Case, directory: Path) -> None:
    steps = count()

    def progress(fraction: float) -> None:
        if _Worker.stop.is_set():
            raise Stopped(f"{case.name}: the builder has ended")
        if next(steps) % TELL_EVERY == 0:
            _Worker.told.put((case.name, fraction))

    make(case, directory, progress)
