"""Registries on loopback, and where what they send is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from registry_auditor.domain import ModelRef
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.hub import HubRegistry
from registry_auditor.registries.mlflow import MlflowRegistry
from tests.planted import WEIGHTS
from tests.registries import mlflow_server
from tests.registries.hub_reading import FIRST, SECOND
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of two matrices of 6 MB each, which are two pieces."""
    made = tmp_path / "model"
    made.mkdir()
    save_file({FIRST: torch.randn(1500, 1000), SECOND: torch.randn(1500, 1000)}, made / WEIGHTS)
    (made / "config.json").write_text('{"model_type": "llama"}')
    return made


@pytest.fixture
def published(hub: HubServer, folder: Path) -> ModelRef:
    return ModelRef("hf", "org/model", hub.push("org/model", folder))


@pytest.fixture
def mlflow_url() -> str:
    """A real MLflow server with nothing in it."""
    return mlflow_server.emptied()


@pytest.fixture
def mlflow(mlflow_url: str, cache: Cache) -> MlflowRegistry:
    return MlflowRegistry(mlflow_url, cache=cache)


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"{request.node.originalname}.{time.time_ns()}"
