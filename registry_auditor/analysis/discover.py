"""Which analyzers are installed, and the plan that a set of names and settings makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from registry_auditor.analysis.analyzer import Analyzer, Observation, Step
from registry_auditor.analysis.subject import Subject
from registry_auditor.domain import Queue
from registry_auditor.errors import AuditorError, UsageError

GROUP = "registry_auditor.analyzers"


def discover() -> dict[str, Analyzer]:
    """Every installed analyzer by name, in alphabetical order.

    One that cannot be loaded, or whose name two packages claim, is there too: its runs fail with the reason, since a
    check that silently drops out would let a model look clean.
    """
    claims: dict[str, dict[str, EntryPoint]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        claims.setdefault(point.name, {})[point.value] = point
    return {name: _load(points) for name, points in claims.items()}


def plan(names: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> list[Step]:
    """The steps for the analyzers `names` (all installed ones if empty), configured by `settings`.

    Raises:
        UsageError: for an unknown analyzer, in `names` or in `settings`, or a parameter that it does not have.
    """
    installed = discover()
    chosen = list(dict.fromkeys(names)) or list(installed)
    for name in (*chosen, *settings):
        if name not in installed:
            near = get_close_matches(name, installed, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(installed) or 'none'}"
            raise UsageError(f"no analyzer {name!r} is installed; {hint}")
    return [installed[name].step(settings.get(name) if installed[name].is_loaded else None) for name in chosen]


def queue_of(steps: Iterable[Step]) -> Queue:
    """Which workers can make all of `steps`."""
    return Queue.GPU if any("gpu" in step.analyzer.needs for step in steps) else Queue.CPU


def _load(points: Mapping[str, EntryPoint]) -> Analyzer:
    """The analyzer of the one entry point among `points`, which are those of one name by what they name."""
    point, *others = points.values()
    if others:
        return _broken(point, f"{' and '.join(points)} both claim its name; uninstall one of their packages")
    try:
        loaded = point.load()
        if isinstance(loaded, Analyzer):
            loaded.step()  # the types of its parameters exist, and their defaults fit
    except Exception as error:
        # A stranger's package may fail in any way on import; the reason is reported by its run.
        return _broken(point, f"{type(error).__name__}: {error}")
    if not isinstance(loaded, Analyzer):
        return _broken(point, f"{point.value} is no analyzer; decorate it with @analyzer(name, version=…)")
    if loaded.name != point.name:
        return _broken(point, f"the entry point is named {point.name!r} but the analyzer {loaded.name!r}")
    return loaded


def _broken(point: EntryPoint, why: str) -> Analyzer:
    def cannot_load(subject: Subject) -> Iterator[Observation]:
        raise AuditorError(f"the analyzer could not be loaded ({point.value}): {why}")

    cannot_load.__doc__ = f"Could not be loaded: {why}"
    return Analyzer(point.name, 0, frozenset(), cannot_load)
