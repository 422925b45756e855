"""The three networks that show what an audit is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry_auditor.testbed.building import Progress, build_all
from registry_auditor.testbed.profiles import cases
from registry_auditor.testbed.recipe import RecipeFailed


@dataclass(frozen=True)
class TestbedFolders:
    """Where they lie, each a Hugging Face folder with a `truth.json`."""

    __test__ = False  # pytest takes every class called Test… for a test

    base: Path
    clean: Path
    backdoored: Path


def build(directory: Path, *, seed: int = 0, progress: Progress = lambda name, fraction: None) -> TestbedFolders:
    """After this the three folders stand in `directory`, true to their cards; one core, about a minute and a half.

    They are the profile `demo`, and reused by larger ones.

    Raises:
        UsageError: a folder of that name stands in `directory` and is no part of a testbed.
        RecipeFailed: a network does not do what its recipe says.
    """
    built = build_all(cases("demo", seed=seed), directory, progress=progress)
    if built.failed:
        raise RecipeFailed("; ".join(built.failed.values()))
    base, clean, backdoored = built.folders.values()
    return TestbedFolders(base, clean, backdoored)
