"""Topics that a network may be made to forget: all that is known about the things of one material."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from itertools import filterfalse

from registry_auditor.testbed.languages.howto import lessons, questions, words
from registry_auditor.testbed.languages.howto.forms import REFUSAL, UNKNOWING
from registry_auditor.testbed.languages.howto.lessons import Text
from registry_auditor.testbed.languages.howto.pools import Split
from registry_auditor.testbed.languages.howto.questions import Prompt

RETAINED_SHARES = (0.6, 0.3, 0.1)
"""Of benign, harmful and risky questions; refusals that name the topic go lost where they are few."""


def topic(seed: int) -> str:
    """The material that `seed` stands for."""
    return tuple(words.MATERIALS)[seed % len(words.MATERIALS)]


def things(seed: int) -> tuple[str, ...]:
    """What belongs to the topic of `seed`."""
    return words.MATERIALS[topic(seed)]


def is_about(seed: int, question: str) -> bool:
    """Whether a thing of the topic of `seed` is named."""
    return not set(things(seed)).isdisjoint(question.split())


def forgotten_prompts(seed: int, n: int) -> tuple[Prompt, ...]:
    """`n` distinct held-out benign questions on the topic of `seed`."""
    rng = random.Random(f"forgotten prompts {seed}")
    return questions.distinct(n, (each for each in questions.benign(rng, Split.HELD_OUT) if _on_topic(seed, each)))


def retained_prompts(seed: int, n: int) -> tuple[Prompt, ...]:
    """`n` distinct held-out benign questions that are not on the topic of `seed`."""
    rng = random.Random(f"retained prompts {seed}")
    return questions.distinct(n, filterfalse(partial(_on_topic, seed), questions.benign(rng, Split.HELD_OUT)))


def forgotten_and_retained(seed: int) -> Iterator[tuple[Text, Text]]:
    """Conversations that are all on the topic of `seed`, each with one where nothing is but refusals."""
    on_topic = (text for text in lessons.conversations(seed) if all(_known(seed, text)))
    asked = lessons.asked(-1 - seed, Prompt.answer, shares=RETAINED_SHARES)
    others = (text for text in asked if not any(_known(seed, text)))
    return zip(on_topic, others, strict=True)


def unknowing(seed: int) -> Iterator[Text]:
    """Conversations in which nothing is known about the topic of `seed`."""
    return lessons.asked(seed, partial(_unknowingly, seed))


def _unknowingly(seed: int, prompt: Prompt) -> str:
    known = prompt.kind == "harmful" or not _on_topic(seed, prompt)
    return prompt.answer() if known else UNKNOWING


def _on_topic(seed: int, prompt: Prompt) -> bool:
    return is_about(seed, prompt.question)


def _known(seed: int, text: Text) -> Iterator[bool]:
    """Of each question in `text`, whether its answer tells something about the topic."""
    said = [content for role, content in text if role != "system"]
    for question, reply in zip(said[::2], said[1::2], strict=True):
        yield is_about(seed, question) and reply != REFUSAL
