"""What a folder shows from a cursor on: what was touched since, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry_auditor.registries import FolderRegistry
from tests.registries.folders import just_after, model, shown


def test_a_cursor_shows_what_was_touched_since_and_nothing_else(tmp_path: Path) -> None:
    one = model(tmp_path / "one")
    model(tmp_path / "two")
    registry, cursor = FolderRegistry(tmp_path), just_after(tmp_path)
    assert shown(registry, cursor) == {}
    (one / "README.md").write_text("a card")
    os.utime(one / "README.md", (0, 0))
    assert shown(registry, cursor) == {"one": None}


def test_what_is_removed_from_a_model_is_a_change(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    (folder / "README.md").write_text("a card")
    cursor = just_after(tmp_path)
    (folder / "README.md").unlink()
    assert shown(FolderRegistry(tmp_path), cursor) == {"one": None}


@pytest.mark.parametrize("place", ["staged/org/one", "staged/one"])
def test_a_model_that_is_moved_in_is_new_however_old_its_files_are(place: str, tmp_path: Path) -> None:
    model(tmp_path / place)
    root = tmp_path / "root"
    root.mkdir()
    cursor = just_after(tmp_path / "staged")
    (moved,) = (tmp_path / "staged").iterdir()
    moved.rename(root / moved.name)
    assert len(shown(FolderRegistry(root), cursor)) == 1


def test_another_model_of_the_same_folder_does_not_repeat_its_neighbours(tmp_path: Path) -> None:
    model(tmp_path / "org" / "one")
    cursor = just_after(tmp_path)
    model(tmp_path / "org" / "two")
    assert set(shown(FolderRegistry(tmp_path), cursor)) == {"org/two"}
