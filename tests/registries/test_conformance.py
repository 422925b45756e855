"""A directory tree keeps the promises of a registry."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry_auditor.registries import FolderRegistry
from tests.registries.conformance import RegistryPromises, World


@dataclass(frozen=True)
class FolderWorld:
    """A folder that people copy models into."""

    root: Path

    def publish(self, name: str, folder: Path) -> str:
        """Copy it over what is there."""
        shutil.copytree(folder, self.root / name, dirs_exist_ok=True)
        return name

    def remove(self, name: str) -> None:
        """Remove it."""
        shutil.rmtree(self.root / name)

    def registry(self) -> FolderRegistry:
        """The folder."""
        return FolderRegistry(self.root)


class TestFolder(RegistryPromises):
    """In one folder."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        """An empty folder."""
        root = tmp_path / "registry"
        root.mkdir()
        return FolderWorld(root)


class TestNestedFolder(TestFolder):
    """In folders of organisations."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        """A folder whose models lie in a folder of their organisation."""

        class Nested(FolderWorld):
            def publish(self, name: str, folder: Path) -> str:
                return super().publish(f"org/{name}", folder)

            def remove(self, name: str) -> None:
                super().remove(f"org/{name}")

        root = tmp_path / "registry"
        root.mkdir()
        return Nested(root)
