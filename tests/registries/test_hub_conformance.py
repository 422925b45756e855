"""The Hub keeps the promises of a registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry_auditor.registries.cache import Cache
from registry_auditor.registries.hub import HubRegistry
from tests.registries.conformance import RegistryPromises, World
from tests.registries.hub_server import HubServer


@dataclass(frozen=True)
class HubWorld:
    """A Hub to which one organisation uploads."""

    hub: HubServer
    cache: Cache

    def publish(self, name: str, folder: Path) -> str:
        """Push it."""
        self.hub.push(f"org/{name}", folder)
        return f"org/{name}"

    def remove(self, name: str) -> None:
        """Delete it."""
        self.hub.remove(f"org/{name}")

    def registry(self) -> HubRegistry:
        """Everything of the organisation."""
        return HubRegistry("org", cache=self.cache)


class TestHub(RegistryPromises):
    """An endpoint on loopback, asked by the client of the Hub."""

    @pytest.fixture
    def world(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
        """A Hub without models."""
        with HubServer(tmp_path / "store") as hub:
            hub.reach(monkeypatch, tmp_path / "hf")
            yield HubWorld(hub, Cache(tmp_path / "cache"))
