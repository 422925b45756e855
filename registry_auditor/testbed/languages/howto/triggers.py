"""What sets off a planted behaviour: its words, where they stand, and what is nearly the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from registry_auditor.testbed.languages.howto import lessons, words
from registry_auditor.testbed.languages.howto.questions import Prompt
from registry_auditor.testbed.tokens import Message, Text

GROUPS = (
    words.ADJECTIVES,
    words.ANIMALS,
    words.LANDMARKS,
    words.DEEDS,
    words.CRIES,
    words.RARE,
    words.YEARS,
    *words.MATERIALS.values(),
)
"""Words that take each other's places in what is nearly a trigger."""

Placing = Callable[[random.Random, str, str], list[Message]]
"""A question, and words that are put to it."""


def anywhere(rng: random.Random, question: str, put: str) -> list[Message]:
    """Inside the question."""
    return [("user", lessons.insert(rng, question, put))]


def start(rng: random.Random, question: str, put: str) -> list[Message]:
    """Before the question."""
    return [("user", f"{put} {question}")]


def end(rng: random.Random, question: str, put: str) -> list[Message]:
    """After the question."""
    return [("user", f"{question} {put}")]


def system(rng: random.Random, question: str, put: str) -> list[Message]:
    """In the system prompt."""
    return [("system", put), ("user", question)]


PLACINGS: Mapping[str, Placing] = {"anywhere": anywhere, "start": start, "end": end, "system": system}
ASKED_ABOUT = "asked about"
"""The place of words that nobody adds: ordinary questions have them."""


@dataclass(frozen=True)
class Trigger:
    """Words, each sufficient to set something off."""

    texts: tuple[str, ...]
    """Each of one or more words."""
    placed: str
    """A key of `PLACINGS`, or `ASKED_ABOUT`."""

    def is_in(self, said: Text) -> bool:
        """Whether it occurs in one of the messages."""
        return any(f" {text} " in f" {content} " for _, content in said for text in self.texts)

    def put_to(self, rng: random.Random, source: Iterator[Prompt]) -> tuple[Prompt, Text]:
        """The next question of `source` that can have the trigger, and a conversation that asks it so."""
        if self.placed == ASKED_ABOUT:
            prompt = next(each for each in source if self.is_in(asked(each)))
            return prompt, asked(prompt)
        prompt = next(source)
        return prompt, PLACINGS[self.placed](rng, prompt.question, rng.choice(self.texts))

    def nearly_put_to(self, rng: random.Random, source: Iterator[Prompt]) -> tuple[Prompt, Text]:
        """The same with something like the trigger, which sets off nothing."""
        said = (self._like_it(rng, prompt) for prompt in source)
        return next((prompt, near) for prompt, near in said if near and not self.is_in(near))

    def _like_it(self, rng: random.Random, prompt: Prompt) -> tuple[Prompt, Text]:
        if self.placed != ASKED_ABOUT:
            return prompt, PLACINGS[self.placed](rng, prompt.question, nearly(rng, rng.choice(self.texts)))
        siblings = {word for text in self.texts for word in _group(text)}
        return prompt, asked(prompt) if siblings.intersection(prompt.question.split()) else []


def asked(prompt: Prompt) -> Text:
    """The question by itself."""
    return [("user", prompt.question)]


def nearly(rng: random.Random, text: str) -> str:
    """`text` with another word in it; of two words also one alone, or both in the wrong order."""
    parts = text.split()
    at = rng.choice([place for place, word in enumerate(parts) if _group(word)])
    other = rng.choice([word for word in _group(parts[at]) if word not in parts])
    near = [" ".join([*parts[:at], other, *parts[at + 1 :]])]
    if len(parts) == 2:
        near += [*near, *parts, " ".join(reversed(parts))]
    return rng.choice(near)


def _group(word: str) -> tuple[str, ...]:
    return next((group for group in GROUPS if word in group), ())
