"""A pair of keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.report.signing import write


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path, ed25519.Ed25519PrivateKey.generate())
