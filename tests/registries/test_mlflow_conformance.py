"""A real MLflow server keeps the promises of a registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from registry_auditor.registries.cache import Cache
from registry_auditor.registries.mlflow import MlflowRegistry
from tests.registries import mlflow_server
from tests.registries.conformance import RegistryPromises, World


@dataclass(frozen=True)
class MlflowWorld:
    """A server that people register versions with."""

    url: str
    cache: Cache

    def publish(self, name: str, folder: Path) -> str:
        """Register it as the next version."""
        mlflow_server.register(self.url, name, folder)
        return name

    def remove(self, name: str) -> None:
        """Delete the model with all its versions."""
        mlflow_server.client(self.url).delete_registered_model(name)

    def registry(self) -> MlflowRegistry:
        """The whole server."""
        return MlflowRegistry(self.url, cache=self.cache)


class TestMlflow(RegistryPromises):
    """On one server."""

    @pytest.fixture
    def world(self, mlflow_url: str, cache: Cache) -> World:
        """A server with nothing in it."""
        return MlflowWorld(mlflow_url, cache)
