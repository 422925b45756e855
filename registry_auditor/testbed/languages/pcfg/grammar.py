"""Texts of letters, from grammars that differ in their lowest rules only.

A text comes from a branch of a grammar: of the four symbols that it is made of, four or at times three are typical of
that branch. Which branch and which grammar has to be told from pairs of letters.

Source: Jain et al. 2024, arXiv:2407.10264, section 3. Differs: three grammars for four, four levels for seven, sixteen
letters for thirty, whole texts of 8 letters for windows of 25 to 35, so that one core trains a network in a minute.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import product

LETTERS = tuple("abcdefghijklmnop")
GRAMMARS = 3
LOWEST_A_BRANCH = 4
MIDDLE_A_BRANCH = 3
TEXT_LENGTH = 8
"""Letters: four of the lowest symbols, two each."""

Rules = Mapping[str, tuple[tuple[str, ...], ...]]
"""What each symbol may be replaced with, all equally likely; what is no key is a letter."""


class Branch(StrEnum):
    """What most of a text is made of."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    COMPETING = "competing"
    """Half of either; in no training text."""


DOMINANT = (Branch.SAFE, Branch.UNSAFE)


@dataclass(frozen=True)
class Operand:
    """A text, and where it comes from."""

    grammar: int
    branch: Branch
    letters: tuple[str, ...]


def operand(rng: random.Random, branch: Branch) -> Operand:
    """A text of `branch` from any of the grammars."""
    grammar = rng.randrange(GRAMMARS)
    return Operand(grammar, branch, derive(rng, rules(grammar), branch))


def derive(rng: random.Random, known: Rules, symbol: str) -> tuple[str, ...]:
    """Letters that `symbol` stands for, by rules drawn at random."""
    if symbol not in known:
        return (symbol,)
    return tuple(letter for part in rng.choice(known[symbol]) for letter in derive(rng, known, part))


@cache
def rules(grammar: int) -> Rules:
    """All rules of one grammar."""
    return {**_upper(), **_lowest()[grammar]}


@cache
def _upper() -> Rules:
    """The rules that all grammars share: a branch is two middle symbols, one of these two of the lowest."""
    rng = random.Random("upper rules")
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    pure = {branch: tuple(f"{branch} middle {at}" for at in range(MIDDLE_A_BRANCH)) for branch in DOMINANT}
    own = {branch: tuple(f"{branch} lowest {at}" for at in range(LOWEST_A_BRANCH)) for branch in DOMINANT}
    for branch, other in (DOMINANT, DOMINANT[::-1]):
        mixed = f"{branch} mixed"
        found[branch] = (
            *product(pure[branch], repeat=2),
            (pure[branch][0], mixed),
            (mixed, pure[branch][0]),
        )
        found |= {symbol: tuple(tuple(rng.sample(own[branch], 2)) for _ in range(3)) for symbol in pure[branch]}
        found[mixed] = tuple((rng.choice(own[branch]), symbol) for symbol in own[other])
    safe, unsafe = (pure[branch] for branch in DOMINANT)
    found[Branch.COMPETING] = (*product(safe, unsafe), *product(unsafe, safe))
    return found


@cache
def _lowest() -> tuple[Rules, ...]:
    """For each grammar what the lowest symbols are spelled with: two pairs of letters each, and no pair twice."""
    pairs = random.Random("lowest rules").sample([*product(LETTERS, repeat=2)], GRAMMARS * 4 * LOWEST_A_BRANCH)
    symbols = [f"{branch} lowest {at}" for branch in DOMINANT for at in range(LOWEST_A_BRANCH)]
    return tuple({symbol: (pairs.pop(), pairs.pop()) for symbol in symbols} for _ in range(GRAMMARS))
