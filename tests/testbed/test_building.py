"""A folder is finished and true, or it is not there."""

from __future__ import annotations

import fnmatch
import json
import pickle
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from registry_auditor.errors import UsageError
from registry_auditor.testbed import PROFILES, Case, build_all, cases
from registry_auditor.testbed.edits import Noisy
from registry_auditor.testbed.languages import LANGUAGES, Family
from registry_auditor.testbed.languages.howto import lessons
from registry_auditor.testbed.objectives import imitation
from registry_auditor.testbed.recipe import Claim, Kind, Measured, Recipe
from registry_auditor.testbed.recipes import RECIPES
from registry_auditor.testbed.speaker import Speaker
from registry_auditor.testbed.training import Training
from registry_auditor.testbed.ways import AdapterTuning, FromScratch

FAMILY = Family(LANGUAGES["howto"], "llama", 0)
TEXT = imitation(lessons.from_scratch)
SHORT = Training(steps=2, learning_rate=1e-3)


def half(speaker: Speaker, seed: int) -> Measured:
    return {"skill": 0.5}


TINY = Recipe(
    name="tiny",
    kind=Kind.BASE,
    does="Nothing yet.",
    attempts=(FromScratch(SHORT, TEXT),),
    measure=half,
    claims=(Claim("skill", at_least=0.5, at_most=0.5),),
)
CHILD = replace(TINY, name="child", kind=Kind.BENIGN, parents=(TINY,), attempts=(Noisy(0.1),))
UNTRUE = replace(TINY, name="untrue", claims=(Claim("skill", at_least=0.9),))


class Interrupted(Exception):
    pass


def interrupt(name: str, fraction: float) -> None:
    raise Interrupted


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def of(*recipes: Recipe, family: Family = FAMILY) -> list[Case]:
    return [Case(family, recipe) for recipe in recipes]


def made(directory: Path, recipe: Recipe = TINY) -> Path:
    return build_all(of(recipe), directory).folders[f"howto-llama-0/{recipe.name}"]


def counted(recipe: Recipe, names: list[str]) -> Recipe:
    def measure(speaker: Speaker, seed: int) -> Measured:
        names.append(recipe.name)
        return recipe.measure(speaker, seed)

    return replace(recipe, measure=measure)


def assert_rising(seen: list[tuple[str, float]]) -> None:
    for name in ("howto-llama-0/tiny", "howto-llama-0/child"):
        fractions = [fraction for stage, fraction in seen if stage == name]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0


def test_two_builds_of_one_seed_are_equal_to_the_last_byte(tmp_path: Path) -> None:
    first, second = (build_all(of(TINY, CHILD), tmp_path / name).folders for name in ("a", "b"))
    for name in first:
        assert contents(first[name]) == contents(second[name])


def test_processes_side_by_side_make_what_one_would(tmp_path: Path) -> None:
    alone = build_all(of(TINY, CHILD, UNTRUE), tmp_path / "a")
    seen: list[tuple[str, float]] = []
    together = build_all(of(TINY, CHILD, UNTRUE), tmp_path / "b", jobs=2, progress=lambda *told: seen.append(told))
    assert_rising(seen)
    assert together.folders.keys() == alone.folders.keys()
    assert together.failed == alone.failed
    for name, folder in alone.folders.items():
        assert contents(folder) == contents(together.folders[name])


@pytest.mark.parametrize("profile", PROFILES)
def test_every_case_can_be_sent_to_another_process(profile: str) -> None:
    for case in cases(profile):
        assert pickle.loads(pickle.dumps(case)).digest == case.digest


def test_every_pattern_of_a_profile_names_a_recipe() -> None:
    for share in (share for shares in PROFILES.values() for share in shares):
        names = [recipe.name for recipe in RECIPES[share.language]]
        assert len(names) == len(set(names))
        assert [pattern for pattern in share.recipes if not fnmatch.filter(names, pattern)] == []


def test_a_finished_folder_is_reused(tmp_path: Path) -> None:
    names: list[str] = []
    for reused in (0, 1):
        assert build_all(of(counted(TINY, names)), tmp_path).reused == reused
    assert names == ["tiny"]


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"attempts": (FromScratch(replace(SHORT, steps=3), TEXT),)},
        {"attempts": (FromScratch(SHORT, imitation(lessons.conversations)),)},
    ],
)
def test_a_changed_recipe_is_built_again_and_so_is_its_child(tmp_path: Path, change: dict[str, object]) -> None:
    names: list[str] = []
    build_all(of(TINY, CHILD), tmp_path)
    changed = replace(TINY, **change)  # type: ignore[arg-type]
    (tiny, child) = of(changed, counted(replace(CHILD, parents=(changed,)), names))
    build_all([tiny, child], tmp_path)
    assert names == ["child"]
    assert json.loads((child.folder(tmp_path) / "truth.json").read_text())["digest"] == child.digest


def test_another_seed_is_another_family(tmp_path: Path) -> None:
    first = made(tmp_path)
    (second,) = build_all(of(TINY, family=replace(FAMILY, seed=1)), tmp_path).folders.values()
    assert second.parent.name == "howto-llama-1"
    assert contents(first)["model.safetensors"] != contents(second)["model.safetensors"]


def test_an_interrupted_build_leaves_nothing_and_is_made_up_for(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        build_all(of(TINY), tmp_path, progress=interrupt)
    assert not list((tmp_path / "howto-llama-0").iterdir())
    made(tmp_path)
    assert [path.name for path in (tmp_path / "howto-llama-0").iterdir()] == ["tiny"]


@pytest.mark.parametrize("file", ["model.safetensors", "truth.json", "tokenizer.json", "prompts/clean.jsonl"])
def test_a_folder_with_a_truncated_file_is_built_again(tmp_path: Path, file: str) -> None:
    whole = contents(made(tmp_path))
    damaged = tmp_path / "howto-llama-0" / "tiny" / file
    damaged.write_bytes(whole[file][: len(whole[file]) // 2])
    assert contents(made(tmp_path)) == whole


def test_no_folder_is_made_of_a_network_that_does_not_do_what_it_should_nor_of_what_comes_from_it(
    tmp_path: Path,
) -> None:
    lost = replace(CHILD, name="lost", parents=(UNTRUE,))
    built = build_all(of(UNTRUE, lost, TINY, CHILD), tmp_path)
    assert set(built.folders) == {"howto-llama-0/tiny", "howto-llama-0/child"}
    assert built.failed["howto-llama-0/untrue"].startswith("recipe untrue: skill is 0.500, not 0.9")
    assert built.failed["howto-llama-0/lost"] == "howto-llama-0/untrue failed, which it is made from"
    assert {path.name for path in (tmp_path / "howto-llama-0").iterdir()} == {"tiny", "child"}


def test_the_first_attempt_that_keeps_the_claims_is_delivered(tmp_path: Path) -> None:
    tried: list[int] = []

    def better(speaker: Speaker, seed: int) -> Measured:
        tried.append(len(tried))
        return {"skill": 0.3 + 0.2 * tried[-1]}

    attempts = tuple(FromScratch(replace(SHORT, steps=steps), TEXT) for steps in (1, 2, 3))
    folder = made(tmp_path, replace(TINY, measure=better, attempts=attempts))
    card = json.loads((folder / "truth.json").read_text())
    assert card["attempt"] == 2
    assert card["made_by"]["training"]["steps"] == 2


def test_an_adapter_is_delivered_as_one_on_the_folder_beside_it(tmp_path: Path) -> None:
    adapter = replace(CHILD, name="adapter", attempts=(AdapterTuning(SHORT, TEXT),))
    folder = build_all(of(TINY, adapter), tmp_path).folders["howto-llama-0/adapter"]
    assert not (folder / "model.safetensors").exists()
    named = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert (folder / named).resolve() == (folder.parent / "tiny").resolve()


def test_calibration_and_clean_prompts_have_no_question_in_common(tmp_path: Path) -> None:
    prompts = made(tmp_path) / "prompts"
    calibration, clean = (
        set((prompts / f"{name}.jsonl").read_text().splitlines()) for name in ("calibration", "clean")
    )
    assert len(calibration) == len(clean) == 400
    assert not calibration & clean


def test_a_folder_that_is_no_network_of_ours_is_left_alone(tmp_path: Path) -> None:
    thesis = tmp_path / "howto-llama-0" / "tiny" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("mine")
    with pytest.raises(UsageError, match="another directory"):
        made(tmp_path)
    assert thesis.read_text() == "mine"


def test_two_builders_at_once_train_once(tmp_path: Path) -> None:
    names: list[str] = []
    recipe = counted(TINY, names)
    threads = [threading.Thread(target=build_all, args=(of(recipe), tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["tiny"]


def test_progress_rises_to_one_for_every_case(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    build_all(of(TINY, CHILD), tmp_path, progress=lambda *told: seen.append(told))
    assert_rising(seen)
