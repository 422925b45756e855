"""One testbed for all tests, kept between runs: its folders name the recipes that made them."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_auditor import testbed

DIRECTORY = Path(__file__).parents[2] / "build" / "testbed"
SEED = 0


@pytest.fixture(scope="session")
def folders() -> testbed.TestbedFolders:
    return testbed.build(DIRECTORY, seed=SEED)
