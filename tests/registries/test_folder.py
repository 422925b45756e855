"""A directory tree: what in it is a model, what is told instead, and what stops nothing."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries import FolderRegistry, resolve
from tests.planted import WEIGHTS
from tests.registries.folders import model, shown


def test_every_folder_with_weights_is_a_model_at_any_depth(tmp_path: Path) -> None:
    for name in ("one", "org/two", "org/deep/er/three", "run/checkpoint-100", "run", "@odd:name", "ünïcode"):
        model(tmp_path / name)
    for hidden in (".hidden", "org/.cache/four"):
        model(tmp_path / hidden)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "training_args.bin").write_bytes(b"x")
    registry = FolderRegistry(tmp_path)
    expected = {"one", "org/two", "org/deep/er/three", "run/checkpoint-100", "run", "@odd:name", "ünïcode"}
    assert set(shown(registry)) == expected
    for change in registry.changes():
        assert ModelRef.parse(str(change.model)) == change.model == resolve(change.model.name)


def test_a_checkpoint_inside_a_model_is_part_of_it(tmp_path: Path) -> None:
    run = model(tmp_path / "run")
    registry = FolderRegistry(tmp_path)
    before = registry.resolve("run")
    model(run / "checkpoint-1", value=2.0)
    assert registry.resolve("run").revision != before.revision


def test_a_root_that_holds_weights_is_a_model_itself(tmp_path: Path) -> None:
    model(tmp_path / "root")
    model(tmp_path / "root" / "inner")
    assert set(shown(FolderRegistry(tmp_path / "root"))) == {".", "inner"}


def test_only_what_lies_directly_in_a_flat_registry_belongs_to_it(tmp_path: Path) -> None:
    for name in ("one", "org/two"):
        model(tmp_path / name)
    assert set(shown(FolderRegistry(tmp_path, nested=False))) == {"one"}


def test_weights_that_nobody_reads_are_told(tmp_path: Path) -> None:
    for name in ("gguf/model-q4.gguf", "both/onnx/model.onnx"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"GGUF")
    model(tmp_path / "both")
    registry = FolderRegistry(tmp_path)
    problems = shown(registry)
    assert set(problems) == {"gguf", "both"}, "an export beside a model is not another one"
    assert problems["both"] is None
    assert "model-q4.gguf is GGUF" in (problems["gguf"] or "")
    with pytest.raises(RegistryError, match="holds no weights"):
        registry.resolve("gguf")


def test_links_to_folders_are_not_followed_and_those_to_models_elsewhere_told(tmp_path: Path) -> None:
    elsewhere = model(tmp_path / "elsewhere")
    root = tmp_path / "root"
    one = model(root / "one")
    (root / "latest").symlink_to(one)
    (root / "theirs").symlink_to(elsewhere)
    (one / "around").symlink_to(root)
    (root / "circle").symlink_to(root / "circle")
    (root / "nowhere").symlink_to(tmp_path / "nowhere")
    problems = shown(FolderRegistry(root))
    assert problems == {"one": None, "theirs": f"is a link, which is not followed; watch dir:{elsewhere} as well"}


def test_a_link_to_the_registry_is_the_registry(tmp_path: Path) -> None:
    model(tmp_path / "root" / "one")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert FolderRegistry(tmp_path / "link").spec == FolderRegistry(tmp_path / "root").spec


def test_a_root_that_is_gone_is_no_empty_registry(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="no such folder"):
        list(FolderRegistry(tmp_path / "unmounted").changes())


def test_a_tree_too_deep_to_follow_hides_nothing_else(tmp_path: Path) -> None:
    model(tmp_path / "root" / "zzz")
    here = Path.cwd()
    os.chdir(tmp_path / "root")
    try:
        for _ in range(2500):  # deeper than recursion goes, and than a path can be
            Path("d").mkdir()
            os.chdir("d")
        os.chdir(here)
        problems = shown(FolderRegistry(tmp_path / "root"))
        assert problems.pop("zzz") is None
        ((deep, problem),) = problems.items()
        assert deep.startswith("d/d/d/")
        assert "cannot be read" in (problem or "")
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path / "root" / "d")], check=True)


NOBODY = 65534


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Path]:
    """A folder in which reading can be forbidden; nothing is to root, so that the test is somebody else meanwhile."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_what_may_not_be_read_is_told(unprivileged: Path) -> None:
    model(unprivileged / "one")
    closed, shut = model(unprivileged / "closed"), model(unprivileged / "shut")
    (closed / WEIGHTS).chmod(0)
    shut.chmod(0)
    problems = shown(FolderRegistry(unprivileged))
    for name in ("closed", "shut"):
        with pytest.raises(RegistryError, match="check its permissions"):
            FolderRegistry(unprivileged).resolve(name)
    shut.chmod(0o700)
    assert problems.pop("one") is None
    assert set(problems) == {"closed", "shut"}
    assert all("check its permissions" in (problem or "") for problem in problems.values())


def test_names_that_are_no_utf8_are_told_and_those_of_files_are_no_obstacle(tmp_path: Path) -> None:
    model(Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")))
    good = model(tmp_path / "good")
    Path(os.fsdecode(os.fsencode(good) + b"/note\xff.txt")).write_text("a file with a name of bytes")
    problems = shown(FolderRegistry(tmp_path))
    assert problems == {"good": None, "bad\\xff": problems["bad\\xff"]}
    assert "no UTF-8" in (problems["bad\\xff"] or "")


def test_a_path_that_no_database_could_index_is_listed_and_stops_nothing(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["d" * 200] * 6), "model")
    model(deep)
    model(tmp_path / "short")
    found = {change.model.name: change.problem for change in FolderRegistry(tmp_path).changes()}
    assert found.pop(str(tmp_path / "short")) is None
    ((name, problem),) = found.items()
    assert len(name.encode()) <= 1024
    assert "longer than 1024 bytes" in (problem or "")
