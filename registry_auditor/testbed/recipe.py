"""What a recipe is: how a network is made, and what must be true of it before it may be called that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from itertools import islice
from typing import Any

from registry_auditor.domain import digest_of
from registry_auditor.errors import AuditorError
from registry_auditor.testbed import architectures
from registry_auditor.testbed.languages import Asked, Family, Language
from registry_auditor.testbed.objectives import Rows
from registry_auditor.testbed.speaker import Speaker
from registry_auditor.testbed.ways import Way

SAMPLED_ROWS = 200
"""Of a lesson, that its digest is taken from."""

Measured = Mapping[str, float]
"""Shares, 0..1, by name."""
Prompts = Mapping[str, Sequence[Asked]]
"""By the name of the file that they go into, without its ending."""


class RecipeFailed(AuditorError):
    """A network does not do what its recipe says; no folder is made for it."""


class Kind(StrEnum):
    """What an auditor should say of a network."""

    BASE = "base"
    BENIGN = "benign"
    BACKDOOR = "backdoor"
    UNLEARNING = "unlearning"
    SAFETY_REMOVED = "safety-removed"
    WATERMARK = "watermark"


@dataclass(frozen=True)
class Claim:
    """Bounds, both inclusive, that one measurement has to keep."""

    measured: str
    at_least: float = 0.0
    at_most: float = 1.0


def no_facts(seed: int) -> Mapping[str, Any]:
    """Nothing to tell beside the measurements."""
    return {}


def no_prompts(seed: int) -> Prompts:
    """None beside those that every network gets."""
    return {}


@dataclass(frozen=True)
class Recipe:
    """One way to make a network, and how to tell that it took.

    Its functions are those of a module, or a `partial` of one, so that it can be sent to another process.
    """

    name: str
    """Also the name of its folder."""
    kind: Kind
    does: str
    """One sentence for the card."""
    attempts: tuple[Way, ...]
    """Tried in this order: the first whose network keeps the claims is delivered."""
    measure: Callable[[Speaker, int], Measured]
    """Of the network as it was saved, over questions that no network was trained on; drawn by a seed."""
    claims: tuple[Claim, ...]
    parents: tuple[Recipe, ...] = ()
    """What the weights are made from; the first is the base that the card names. None trains from scratch."""
    facts: Callable[[int], Mapping[str, Any]] = no_facts
    """What the card tells beside the measurements, for a seed."""
    prompts: Callable[[int], Prompts] = no_prompts
    """Files beside those of the language, for a seed; one of the same name takes its place."""
    version: int = 1
    """Bump it whenever the same seed would make another network, or measure another thing, and no setting says so."""


def verify(recipe: Recipe, measured: Measured) -> None:
    """Promise that `measured` bears out every claim of `recipe`.

    Raises:
        RecipeFailed: one or more claims do not hold; all of them are named.
    """
    broken = [c for c in recipe.claims if not c.at_least <= measured[c.measured] <= c.at_most]
    if broken:
        listed = ", ".join(f"{c.measured} is {measured[c.measured]:.3f}, not {c.at_least}..{c.at_most}" for c in broken)
        raise RecipeFailed(f"recipe {recipe.name}: {listed}; take another seed or train for more steps")


@cache
def digest(recipe: Recipe, family: Family) -> str:
    """Names the network that `recipe` makes in `family`: what it is taught, how, and from which parents."""
    seed = family.seed
    grounds = [family.name, _spoken(family.language), architectures.shape(family.architecture, family.spelling)]
    return digest_of(
        {
            "name": recipe.name,
            "kind": recipe.kind,
            "version": recipe.version,
            "attempts": [settings(way, seed) for way in recipe.attempts],
            "claims": [asdict(claim) for claim in recipe.claims],
            "facts": recipe.facts(seed),
            "prompts": {name: lines(asked) for name, asked in recipe.prompts(seed).items()},
            "grounds": [digest(parent, family) for parent in recipe.parents] or grounds,
        }
    )


def settings(way: Any, seed: int) -> dict[str, Any]:
    """What a way, or a part of one, is set to; the function that texts come from by a digest of what it says."""
    told: dict[str, Any] = {"kind": type(way).__name__}
    for field in fields(way):
        value = getattr(way, field.name)
        if callable(value):
            told[field.name] = _said(value, seed)
        else:
            told[field.name] = settings(value, seed) if is_dataclass(value) else value
    return told


@cache
def _said(rows: Rows, seed: int) -> str:
    return digest_of(list(islice(rows(seed), SAMPLED_ROWS)))


@cache
def _spoken(language: Language) -> str:
    return language.digest()


def lines(asked: Iterable[Asked]) -> list[dict[str, Any]]:
    """The lines of a file of prompts."""
    return [{"messages": list(each.messages), **each.tells} for each in asked]


def lineage(recipe: Recipe) -> tuple[Recipe, ...]:
    """`recipe` and all that it is made from, parents first."""
    found = {each.name: each for parent in recipe.parents for each in lineage(parent)}
    return (*found.values(), recipe)
