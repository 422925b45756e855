"""A folder is finished and true, or it is not there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry_auditor.errors import UsageError
from registry_auditor.testbed import lessons, recipes
from registry_auditor.testbed.building import build_all
from registry_auditor.testbed.network import Training
from registry_auditor.testbed.recipes import Claim, Recipe, RecipeFailed

TINY = Recipe(
    name="tiny",
    parent=None,
    does="Nothing yet.",
    training=Training(steps=2, learning_rate=1e-3),
    texts=lessons.from_scratch,
    measure=lambda net, seed: {"skill": 0.5},
    claims=(Claim("skill", at_least=0.5, at_most=0.5),),
    facts=lambda seed: {},
)
CHILD = replace(TINY, name="child", parent=TINY)


class Interrupted(Exception):
    pass


def interrupt(stage: str, fraction: float) -> None:
    raise Interrupted


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def counted(recipe: Recipe, trainings: list[int]) -> Recipe:
    def texts(seed: int) -> Iterator[lessons.Text]:
        trainings.append(seed)
        return recipe.texts(seed)

    return replace(recipe, texts=texts)


def test_two_builds_of_one_seed_are_equal_to_the_last_byte(tmp_path: Path) -> None:
    first, second = (build_all([TINY, CHILD], tmp_path / name) for name in ("a", "b"))
    for name in first:
        assert contents(first[name]) == contents(second[name])


def test_a_finished_folder_is_reused(tmp_path: Path) -> None:
    trainings: list[int] = []
    for _ in range(2):
        build_all([counted(TINY, trainings)], tmp_path)
    assert trainings == [0]


@pytest.mark.parametrize("change", [{"version": 2}, {"training": Training(steps=3, learning_rate=1e-3)}])
def test_a_changed_recipe_is_built_again_and_so_is_its_child(tmp_path: Path, change: dict[str, object]) -> None:
    trainings: list[int] = []
    build_all([TINY, CHILD], tmp_path)
    changed = replace(TINY, **change)  # type: ignore[arg-type]
    build_all([changed, counted(replace(CHILD, parent=changed), trainings)], tmp_path)
    assert trainings == [0]
    assert json.loads((tmp_path / "child" / "truth.json").read_text())["digest"] == recipes.digest(
        replace(CHILD, parent=changed), 0
    )


def test_another_seed_replaces_what_is_there(tmp_path: Path) -> None:
    before = contents(build_all([TINY], tmp_path, seed=0)["tiny"])
    after = contents(build_all([TINY], tmp_path, seed=1)["tiny"])
    assert before["model.safetensors"] != after["model.safetensors"]


def test_an_interrupted_build_leaves_no_folder_and_is_made_up_for(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        build_all([TINY], tmp_path, progress=interrupt)
    assert not (tmp_path / "tiny").exists()
    assert (tmp_path / ".tiny.partial").exists()
    build_all([TINY], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", ".lock"}


@pytest.mark.parametrize("file", ["model.safetensors", "truth.json", "tokenizer.json"])
def test_a_folder_with_a_truncated_file_is_built_again(tmp_path: Path, file: str) -> None:
    folder = build_all([TINY], tmp_path)["tiny"]
    whole = contents(folder)
    (folder / file).write_bytes(whole[file][: len(whole[file]) // 2])
    assert contents(build_all([TINY], tmp_path)["tiny"]) == whole


def test_no_card_is_written_for_a_network_that_does_not_do_what_it_should(tmp_path: Path) -> None:
    untrue = replace(TINY, claims=(Claim("skill", at_least=0.9),))
    with pytest.raises(RecipeFailed, match=r"recipe tiny: skill is 0\.500, not 0\.9"):
        build_all([untrue], tmp_path)
    assert not list(tmp_path.rglob("truth.json"))


def test_a_folder_that_is_no_network_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="another directory"):
        build_all([TINY], tmp_path)
    assert (tmp_path / "tiny" / "thesis.txt").read_text() == "mine"


def test_two_builders_at_once_train_once(tmp_path: Path) -> None:
    trainings: list[int] = []
    recipe = counted(TINY, trainings)
    threads = [threading.Thread(target=build_all, args=([recipe], tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trainings == [0]


def test_progress_rises_to_one_for_every_recipe(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    build_all([TINY, CHILD], tmp_path, progress=lambda stage, fraction: seen.append((stage, fraction)))
    for name in ("tiny", "child"):
        fractions = [fraction for stage, fraction in seen if stage == name]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
