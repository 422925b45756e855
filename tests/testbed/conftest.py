"""One testbed for all tests, kept between runs: its folders name the recipes that made them."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_auditor import testbed


@pytest.fixture(scope="session")
def directory() -> Path:
    """Where it lies; another process of pytest waits until it is finished."""
    return Path(__file__).parents[2] / "build" / "testbed"


@pytest.fixture(scope="session")
def folders(directory: Path) -> testbed.TestbedFolders:
    """The base, and a benign and a backdoored fine-tune of it."""
    return testbed.build(directory)
