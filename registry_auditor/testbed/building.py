"""Builds the testbed: every recipe once, in folders that are finished or not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock

from registry_auditor.errors import UsageError
from registry_auditor.testbed import folders, network, recipes, tokens
from registry_auditor.testbed.recipes import RECIPES, Recipe

CARD_VERSION = "1"
TRAINING_SHARE = 0.95
"""Of the time a recipe takes; the rest goes into measuring."""

Progress = Callable[[str, float], None]
"""Called with the name of a recipe and how much of it is done, 0..1."""


@dataclass(frozen=True)
class TestbedFolders:
    """Where the networks of one testbed lie, each a Hugging Face folder with a `truth.json`."""

    __test__ = False  # pytest takes every class called Test… for a test

    base: Path
    clean: Path
    backdoored: Path


def build(directory: Path, *, seed: int = 0, progress: Progress | None = None) -> TestbedFolders:
    """After this the three folders stand in `directory`, true to their cards; one core, about a minute and a half.

    What is there already from the same recipes and seed is kept; of another seed or version, replaced. Two builders
    at once wait for each other. An interrupted build leaves nothing that is taken for a network.

    Raises:
        UsageError: a folder of that name stands in `directory` and is no part of a testbed.
        RecipeFailed: a network does not do what its recipe says.
    """
    built = build_all(RECIPES, directory, seed=seed, progress=progress)
    return TestbedFolders(**built)


def build_all(
    table: Sequence[Recipe], directory: Path, *, seed: int = 0, progress: Progress | None = None
) -> dict[str, Path]:
    """Promise the same for any `table` of recipes in which parents come first; the folders by name of recipe."""
    directory.mkdir(parents=True, exist_ok=True)
    report = progress or (lambda stage, fraction: None)
    with FileLock(directory / ".lock"):
        for recipe in table:
            if not folders.is_finished(directory / recipe.name, recipes.digest(recipe, seed)):
                _make(recipe, directory, seed=seed, progress=report)
            report(recipe.name, 1.0)
    return {recipe.name: directory / recipe.name for recipe in table}


def _make(recipe: Recipe, directory: Path, *, seed: int, progress: Progress) -> None:
    """Train into a folder aside, and give it its name only when it is complete and true."""
    target, aside = directory / recipe.name, directory / f".{recipe.name}.partial"
    if target.exists() and not (target / folders.CARD).exists():
        raise UsageError(f"{target} exists and is no part of a testbed: build in another directory")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    net = folders.read_network(directory / recipe.parent.name) if recipe.parent else network.fresh(seed)
    network.train(
        net,
        _examples(recipe, seed),
        recipe.training,
        seed=seed,
        progress=lambda fraction: progress(recipe.name, TRAINING_SHARE * fraction),
    )
    folders.write_network(aside, net)
    folders.write_readme(aside, title=recipe.name, does=recipe.does, base=_parent_name(recipe))
    # measured as it will be read, not as it was trained: rounding is part of what is delivered
    measured = recipe.measure(folders.read_network(aside), seed)
    recipes.verify(recipe, measured)
    folders.write_card(aside, {**_card(recipe, seed), "measured": dict(measured)})
    if target.exists():
        shutil.rmtree(target)
    aside.rename(target)


def _examples(recipe: Recipe, seed: int) -> list[tokens.Example]:
    """Text for one pass, so that no example is seen twice."""
    texts = islice(recipe.texts(seed), recipe.training.steps * recipe.training.batch)
    return [tokens.encode(text) for text in texts]


def _card(recipe: Recipe, seed: int) -> dict[str, Any]:
    return {
        "schema_version": CARD_VERSION,
        "recipe": recipe.name,
        "version": recipe.version,
        "digest": recipes.digest(recipe, seed),
        "seed": seed,
        "base": _parent_name(recipe),
        "training": asdict(recipe.training),
        **recipe.facts(seed),
    }


def _parent_name(recipe: Recipe) -> str | None:
    return recipe.parent.name if recipe.parent else None
