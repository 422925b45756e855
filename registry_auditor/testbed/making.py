"""One network of the testbed: made, saved, measured as it was saved, and given its name if it keeps its claims."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry_auditor.errors import UsageError
from registry_auditor.testbed import card, folders, recipe
from registry_auditor.testbed.languages import Family
from registry_auditor.testbed.recipe import Measured, Prompts, Recipe, RecipeFailed
from registry_auditor.testbed.speaker import Speaker
from registry_auditor.testbed.training import Progress
from registry_auditor.testbed.ways import Grounds, Way

logger = logging.getLogger(__name__)
TRAINING_SHARE = 0.9
"""Of the time a recipe takes; the rest goes into measuring."""
BENIGN_PROMPTS = 400
"""In each of `calibration` and `clean`."""
HARMFUL_PROMPTS = 200


@dataclass(frozen=True)
class Case:
    """One network: a recipe in a family."""

    family: Family
    recipe: Recipe

    @property
    def name(self) -> str:
        """As a path below the directory of the testbed."""
        return f"{self.family.name}/{self.recipe.name}"

    @property
    def digest(self) -> str:
        """Names what the folder has to hold."""
        return recipe.digest(self.recipe, self.family)

    @property
    def parents(self) -> tuple[Case, ...]:
        """What it is made from."""
        return tuple(Case(self.family, parent) for parent in self.recipe.parents)

    def folder(self, directory: Path) -> Path:
        """Where it lies in the testbed in `directory`."""
        return directory / self.family.name / self.recipe.name

    def is_finished(self, directory: Path) -> bool:
        """Whether it lies there, unharmed and made as it would be made today."""
        return card.is_finished(self.folder(directory), self.digest)


def make(case: Case, directory: Path, progress: Progress) -> None:
    """After this the folder of `case` is finished: trained aside, and given its name only when complete and true.

    The parents are finished already. Whatever stood there of an earlier recipe is gone, even if this one fails.

    Raises:
        UsageError: a folder of that name stands there and is no part of a testbed.
        RecipeFailed: no attempt made a network that does what the recipe says; the last one is told about.
    """
    target = case.folder(directory)
    if target.exists() and not (target / card.CARD).exists():
        raise UsageError(f"{target} exists and is no part of a testbed: build in another directory")
    shutil.rmtree(target, ignore_errors=True)
    aside = target.with_name(f".{target.name}.partial")
    last = case.recipe.attempts[-1]
    for way in case.recipe.attempts:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            _attempt(case, way, aside, progress)
            aside.rename(target)
        except RecipeFailed as error:
            if way is last:
                raise
            logger.info("%s: %s; the next attempt follows", case.name, error)
        else:
            return
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _attempt(case: Case, way: Way, aside: Path, progress: Progress) -> None:
    family, family_folder = case.family, aside.parent
    parents = [folders.read_network(family_folder / parent.name) for parent in case.recipe.parents]
    net = way.make(Grounds(family, parents, lambda fraction: progress(TRAINING_SHARE * fraction)))
    base = case.recipe.parents[0].name if case.recipe.parents else None
    folders.write_network(aside, net, family.spelling, base=base)
    folders.write_readme(aside, title=case.recipe.name, does=case.recipe.does, base=base, card=card.CARD)
    # measured as it will be read, not as it was trained: rounding is part of what is delivered
    measured = case.recipe.measure(Speaker(folders.read_any(aside), family.spelling), family.seed)
    recipe.verify(case.recipe, measured)
    folders.write_prompts(aside, {name: recipe.lines(asked) for name, asked in prompts(case).items()})
    card.write(aside, _card(case, way, measured))


def prompts(case: Case) -> Prompts:
    """What goes into the files of prompts; calibration and clean have no question in common."""
    language, seed = case.family.language, case.family.seed
    benign = language.benign(seed, 2 * BENIGN_PROMPTS)
    return {
        "calibration": benign[:BENIGN_PROMPTS],
        "clean": benign[BENIGN_PROMPTS:],
        "harmful": language.harmful(seed, HARMFUL_PROMPTS),
        **case.recipe.prompts(seed),
    }


def _card(case: Case, way: Way, measured: Measured) -> Mapping[str, Any]:
    family, made = case.family, case.recipe
    return {
        "recipe": made.name,
        "kind": made.kind,
        "does": made.does,
        "language": family.language.name,
        "architecture": family.architecture,
        "seed": family.seed,
        "version": made.version,
        "digest": case.digest,
        "base": made.parents[0].name if made.parents else None,
        "parents": [parent.name for parent in made.parents],
        "made_by": recipe.settings(way, family.seed),
        "attempt": made.attempts.index(way) + 1,
        **made.facts(family.seed),
        "claims": [asdict(claim) for claim in made.claims],
        "measured": dict(measured),
    }
