"""One testbed for all tests, kept between runs: its folders name the recipes that made them."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_auditor import testbed
from registry_auditor.testbed import recipes

SEED = 0


@pytest.fixture(scope="session")
def folders() -> testbed.TestbedFolders:
    digest = recipes.digest(recipes.BACKDOORED, SEED)
    return testbed.build(Path(__file__).parents[2] / "build" / "testbed" / digest[:16], seed=SEED)
