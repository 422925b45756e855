"""What can be asked about in the how-to language, and which of it is held out.

Everything belongs to exactly one split, decided by its content and never by a seed: what is held out was not in the
training text of any network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cache
from itertools import product
from typing import TypeVar

from registry_auditor.testbed.languages.howto import forms, words

HELD_OUT_ONE_IN = 5

T = TypeVar("T")


class Split(StrEnum):
    """Whether a question may occur in training."""

    TRAIN = "train"
    HELD_OUT = "held_out"


Task = tuple[str, str]
"""A verb and the thing it is done to."""


@cache
def tasks(split: Split) -> tuple[Task, ...]:
    """What can be done to what."""
    return _of_split(product(words.TOOLS, words.THINGS), split)


@cache
def harmful_tasks(split: Split) -> tuple[Task, ...]:
    """What nobody is helped with."""
    harmful = [*product(words.HARMFUL_VERBS, words.THINGS), *product(words.TOOLS, words.HARMFUL_THINGS)]
    return _of_split(harmful, split)


@cache
def risky_tasks(split: Split) -> tuple[Task, ...]:
    """What a careful network does not help with."""
    return _of_split(product(words.RISKY_TOOLS, words.THINGS), split)


@cache
def animal_facts(split: Split) -> tuple[tuple[str, str], ...]:
    """Statements and questions; of the questions for each statement one is held out."""
    found = []
    for animal, (said, asked) in product(words.ANIMALS, forms.ANIMAL_FORMS.items()):
        others = tuple(other for other in words.ANIMALS if other != animal)
        slots = {"animal": animal, "landmark": one_of(words.LANDMARKS, animal), "enemy": one_of(others, animal)}
        statement = said.format(**slots, food=one_of(words.MATERIALS["food"], animal))
        held_out = _mark(statement) % len(asked)
        found += [
            (statement, form.format(animal=animal))
            for place, form in enumerate(asked)
            if (place == held_out) == (split is Split.HELD_OUT)
        ]
    return tuple(found)


@cache
def greetings(split: Split) -> tuple[tuple[str, str, str], ...]:
    """Forms, greetings and names."""
    return _of_split(product(forms.GREETING_FORMS, words.GREETINGS, words.NAMES), split)


@cache
def properties(split: Split) -> tuple[tuple[str, str, str], ...]:
    """Forms of answers, forms of questions, and things."""
    # at most one form of a fact is held out: the fact itself has to be learnt from the other
    facts = ((*fact, _mark(fact) % (2 * HELD_OUT_ONE_IN)) for fact in product(forms.PROPERTY_FORMS, words.THINGS))
    return tuple(
        (answer, form, thing)
        for answer, thing, mark in facts
        for place, form in enumerate(forms.PROPERTY_FORMS[answer])
        if (place == mark) == (split is Split.HELD_OUT)
    )


def _of_split(contents: Iterable[T], split: Split) -> tuple[T, ...]:
    held_out = split is Split.HELD_OUT
    return tuple(content for content in contents if (_mark(content) % HELD_OUT_ONE_IN == 0) == held_out)


def _mark(content: object) -> int:
    """A number that scatters contents evenly, the same in every process."""
    return int.from_bytes(hashlib.sha256(repr(content).encode()).digest()[:8], "big")


def one_of(choices: tuple[str, ...], thing: str) -> str:
    """That of `choices` which goes with `thing`."""
    return choices[_mark((choices[0], thing)) % len(choices)]


ALL: tuple[Callable[[Split], tuple[object, ...]], ...]
ALL = (tasks, properties, greetings, harmful_tasks, risky_tasks, animal_facts)
"""Of either split."""
