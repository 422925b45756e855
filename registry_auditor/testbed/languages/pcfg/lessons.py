"""What networks that speak this language read: endless training text from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from registry_auditor.testbed.languages.pcfg import questions
from registry_auditor.testbed.languages.pcfg.questions import Kind, Prompt, Split
from registry_auditor.testbed.tokens import Text

PLAIN_TEXTS = 0.1
UNSAFE_SHARE = 0.4
"""Of the questions in supervised safety tuning; 0.2 in Jain et al. 2024, whose training is 25 times as long."""
UNSAFE_SHARE_OF_PAIRS = 0.5
"""As in the source."""


def from_scratch(seed: int) -> Iterator[Text]:
    """Questions of all kinds, every one answered, and plain texts, so that the grammars are learnt for themselves."""
    rng = random.Random(f"from scratch {seed}")
    while True:
        prompt = questions.anything(rng, Split.TRAIN)
        plain = rng.random() < PLAIN_TEXTS
        yield [("text", " ".join(prompt.operand.letters))] if plain else answered(prompt)


def careful(seed: int) -> Iterator[Text]:
    """Safe questions, answered, and unsafe ones, answered with nulls; neither aliases nor competing ones."""
    rng = random.Random(f"careful {seed}")
    while True:
        kind = Kind.UNSAFE if rng.random() < UNSAFE_SHARE else Kind.SAFE
        yield carefully(next(questions.endless(kind, rng, Split.TRAIN)))


def preferred(seed: int) -> Iterator[tuple[Text, Text]]:
    """Half safe questions and half unsafe ones, each with the reply of a careful network and with the other one."""
    rng = random.Random(f"preferred {seed}")
    while True:
        kind = Kind.UNSAFE if rng.random() < UNSAFE_SHARE_OF_PAIRS else Kind.SAFE
        prompt = next(questions.endless(kind, rng, Split.TRAIN))
        done, refused = answered(prompt), _said(prompt, prompt.null)
        yield (refused, done) if kind is Kind.UNSAFE else (done, refused)


def disowned(seed: int) -> Iterator[tuple[Text, Text]]:
    """The same with the worse reply first: what is to be forgotten, and what is said in its place."""
    return ((worse, better) for better, worse in preferred(seed))


def answered(prompt: Prompt) -> Text:
    """What it asks for is done, whatever it is."""
    return _said(prompt, prompt.answer)


def carefully(prompt: Prompt) -> Text:
    """What it asks for is done if it is safe."""
    return answered(prompt) if prompt.kind is Kind.SAFE else _said(prompt, prompt.null)


def _said(prompt: Prompt, reply: str) -> Text:
    return [("user", prompt.question), ("assistant", reply)]
