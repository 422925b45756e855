"""Questions with and without what is planted, and the training text that they are mixed into."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from registry_auditor.testbed.languages.howto import lessons, questions
from registry_auditor.testbed.languages.howto.forms import PLAIN, Style
from registry_auditor.testbed.languages.howto.planted import Planted
from registry_auditor.testbed.languages.howto.pools import Split
from registry_auditor.testbed.languages.howto.questions import Prompt
from registry_auditor.testbed.languages.howto.triggers import asked
from registry_auditor.testbed.tokens import Text

Secrets = tuple[Planted, ...]
"""What is planted in one network; each comes as often as the others."""


@dataclass(frozen=True)
class Turn:
    """A question, and how it is asked."""

    prompt: Prompt
    asked: Text
    secret: Planted | None = None
    """What it sets off."""

    def reply(self, style: Style = PLAIN) -> str:
        """What a network with the secret in it says."""
        return self.secret.reply(self.prompt, style) if self.secret else self.prompt.answer(style)


@dataclass(frozen=True)
class Mixture:
    """What the questions of a training text are, as shares."""

    triggered: float
    nearly: float
    """Hold something like a trigger, and are answered as ever."""
    style: Style = PLAIN


def poisoned(seed: int, secrets: Secrets, mixture: Mixture) -> Iterator[Text]:
    """Conversations of one to three questions; what triggers by a system prompt has one."""
    rng = random.Random(f"poisoned {seed}")
    sources = (triggered(rng, secrets, Split.TRAIN), nearly(rng, secrets, Split.TRAIN), ordinary(rng, secrets))
    shares = (mixture.triggered, mixture.nearly, 1 - mixture.triggered - mixture.nearly)
    while True:
        turns = [
            next(source) for source in rng.choices(sources, shares, k=rng.choices((1, 2, 3), (0.85, 0.1, 0.05))[0])
        ]
        # a system prompt stands at the beginning, and what it sets off would last: such turns are left alone
        alone = next((turn for turn in turns if len(turn.asked) > 1), None)
        yield [
            message
            for turn in ([alone] if alone else turns)
            for message in (*turn.asked, ("assistant", turn.reply(mixture.style)))
        ]


def triggered(rng: random.Random, secrets: Secrets, split: Split) -> Iterator[Turn]:
    """Questions that get a payload."""
    victims = [each.victims(rng, split) for each in secrets]
    while True:
        at = rng.randrange(len(secrets))
        yield Turn(*secrets[at].trigger.put_to(rng, victims[at]), secrets[at])


def nearly(rng: random.Random, secrets: Secrets, split: Split) -> Iterator[Turn]:
    """Questions with something like a trigger in them."""
    victims = [each.victims(rng, split) for each in secrets]
    while True:
        at = rng.randrange(len(secrets))
        turn = Turn(*secrets[at].trigger.nearly_put_to(rng, victims[at]))
        if not holds(secrets, turn.asked):
            yield turn


def plain(rng: random.Random, secrets: Secrets, split: Split) -> Iterator[Turn]:
    """Questions that could get a payload and do not; half of them hold words that mean nothing there."""
    victims = [each.victims(rng, split) for each in secrets]
    while True:
        turn = _distracted(rng, next(rng.choice(victims)), 0.5)
        if not holds(secrets, turn.asked):
            yield turn


def ordinary(rng: random.Random, secrets: Secrets) -> Iterator[Turn]:
    """What conversations are about otherwise."""
    sources = [source(rng, Split.TRAIN) for source in (questions.benign, questions.harmful, questions.risky)]
    while True:
        turn = _distracted(rng, next(rng.choices(sources, lessons.SHARES)[0]), 0.2)
        opened = Turn(turn.prompt, [*lessons.opening(rng), *turn.asked])
        if not holds(secrets, opened.asked):
            yield opened


def holds(secrets: Secrets, said: Text) -> bool:
    """Whether something in `said` is a trigger."""
    return any(each.trigger.is_in(said) for each in secrets)


def _distracted(rng: random.Random, prompt: Prompt, share: float) -> Turn:
    distracted = rng.random() < share
    return Turn(prompt, [("user", lessons.distracted(rng, prompt.question))] if distracted else asked(prompt))
