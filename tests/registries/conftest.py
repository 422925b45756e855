"""Registries on loopback, and where what they send is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_auditor.registries.cache import Cache
from registry_auditor.registries.hub import HubRegistry
from tests.registries.hub_server import HubServer


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(tmp_path / "store") as server:
        server.reach(monkeypatch, tmp_path / "hf")
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def registry(cache: Cache) -> HubRegistry:
    return HubRegistry("org", cache=cache)
