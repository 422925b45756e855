"""Which folder is meant by the name of a base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import RegistryError
from registry_auditor.registries import FolderRegistry, resolve
from tests.registries.folders import model


@pytest.fixture
def family(tmp_path: Path) -> FolderRegistry:
    """Several that could be meant by one name."""
    for number, name in enumerate(("a/base", "b/base", "b/tuned", "c/tuned", "org/c/llama", "x/c/llama", "solo")):
        model(tmp_path / name, value=number)
    model(tmp_path / "b" / "tuned" / "inside", value=99)
    return FolderRegistry(tmp_path)


@pytest.mark.parametrize(
    ("claimed", "by", "found"),
    [
        ("a/base", "b/tuned", "a/base"),
        ("./a/base/", "b/tuned", "a/base"),
        ("base", "b/tuned", "b/base"),  # the one beside it
        ("hub-org/base", "b/tuned", "b/base"),
        ("org/c/llama", "b/tuned", "org/c/llama"),
        ("elsewhere/org/c/llama", "b/tuned", "org/c/llama"),  # agrees in most parts
        ("C:\\work\\solo", "b/tuned", "solo"),
        ("../../solo", "b/tuned", "solo"),
        ("inside", "b/tuned", None),
        ("b/tuned/inside", "b/tuned", None),
        ("b/tuned", "b/tuned", None),
        ("some/tuned", "b/tuned", "c/tuned"),
        ("tuned", "b/tuned", "c/tuned"),
        (".", "solo", None),
        ("..", "solo", None),
        ("", "solo", None),
        ("x" * 5000, "solo", None),
        ("a\0b", "solo", None),
        ("b", "solo", None),  # a folder, and no model
    ],
)
def test_a_claimed_base_is_looked_for_by_its_whole_name_first(
    claimed: str, by: str, found: str | None, family: FolderRegistry
) -> None:
    expected = family.resolve(found) if found else None
    assert family.find(claimed, of=family.resolve(by)) == expected
    list(family.changes())
    assert family.find(claimed, of=family.resolve(by)) == expected, "it is the same after a look at all of them"


def test_a_name_that_could_mean_several_is_not_guessed(family: FolderRegistry) -> None:
    with pytest.raises(RegistryError, match=r"base could be each of a/base, b/base; choose with --base"):
        family.find("some/base", of=family.resolve("solo"))
    with pytest.raises(RegistryError, match="org/c/llama, x/c/llama"):
        family.find("c/llama", of=ModelRef("hf", "org/tuned", "0" * 40))


def test_a_base_that_is_removed_is_no_longer_found(family: FolderRegistry) -> None:
    list(family.changes())
    shutil.rmtree(family.root / "solo")
    assert family.find("solo", of=family.resolve("b/tuned")) is None


def test_the_claim_of_a_folder_is_read_from_its_files(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    (folder / "config.json").write_text(json.dumps({"_name_or_path": "org/base"}))
    claim = FolderRegistry(tmp_path).claim(resolve(str(folder)))
    assert claim is not None
    assert (claim.name, claim.source) == ("org/base", BaseSource.CONFIG)
