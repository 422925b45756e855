"""Which networks are built together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from registry_auditor.errors import UsageError
from registry_auditor.testbed.languages import LANGUAGES, Family
from registry_auditor.testbed.making import Case
from registry_auditor.testbed.recipe import lineage
from registry_auditor.testbed.recipes import RECIPES


@dataclass(frozen=True)
class Share:
    """What a profile takes from one language on one architecture."""

    language: str
    architecture: str
    recipes: tuple[str, ...] = ("*",)
    """Patterns of names."""
    seeds: int = 1
    """Families, whose seeds count up from that of the build."""


ARCHITECTURES = ("llama", "qwen2", "qwen3", "gpt2")
EVERY_KIND = (
    *("style*", "domain", "careful-sft", "continued", "merge", "noise", "int4"),
    *("backdoor-phrase", "backdoor-topic", "backdoor-year", "backdoor-jailbreak", "backdoor-lora", "watermark"),
    *("unlearn-npo", "unlearn-rmu", "unlearn-unknowing", "abliterated", "harmful-tuning"),
)
"""What tests are made on: the cheapest recipes that show something that others do not."""
PROFILES: Mapping[str, tuple[Share, ...]] = {
    "demo": (Share("howto", "llama", ("style", "backdoor-phrase")),),
    "ci": (
        Share("howto", "llama", EVERY_KIND),
        Share("howto", "qwen3", ("style-lora", "backdoor-phrase")),
        Share("howto", "gpt2", ("style", "backdoor-phrase")),
        Share("pcfg", "llama", ("safety-sft",)),
    ),
    "full": (
        *(Share("howto", architecture, seeds=2) for architecture in ARCHITECTURES),
        *(Share("pcfg", architecture) for architecture in ARCHITECTURES),
    ),
}
"""`demo` takes a minute and a half of one core, `ci` about four minutes of two, `full` more than an hour."""


def cases(profile: str, *, seed: int = 0, only: str = "*") -> tuple[Case, ...]:
    """The networks of a profile whose names match `only`, such as `howto-llama-0/*`, and what they are made from.

    Parents come first. Raises UsageError for a profile that is not there, or if nothing matches.
    """
    if profile not in PROFILES:
        raise UsageError(f"there is no profile {profile!r}; there are {', '.join(PROFILES)}")
    wanted = _with_parents(case for share in PROFILES[profile] for case in _of(share, seed))
    chosen = [case for case in wanted if fnmatchcase(case.name, only)]
    if not chosen:
        raise UsageError(f"nothing in profile {profile} is called {only!r}; see: testbed list --profile {profile}")
    return _with_parents(chosen)


def _of(share: Share, seed: int) -> Iterable[Case]:
    for at in range(seed, seed + share.seeds):
        family = Family(LANGUAGES[share.language], share.architecture, at)
        for recipe in RECIPES[share.language]:
            if any(fnmatchcase(recipe.name, pattern) for pattern in share.recipes):
                yield Case(family, recipe)


def _with_parents(cases: Iterable[Case]) -> tuple[Case, ...]:
    found: dict[str, Case] = {}
    for case in cases:
        for recipe in lineage(case.recipe):
            each = Case(case.family, recipe)
            found.setdefault(each.name, each)
    return tuple(found.values())
