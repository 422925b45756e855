"""What networks of the testbed read: endless training text from a seed, and questions with words put into them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from registry_auditor.testbed.languages.howto import forms, questions, words
from registry_auditor.testbed.languages.howto.forms import PLAIN, REFUSAL, Style
from registry_auditor.testbed.languages.howto.pools import Split
from registry_auditor.testbed.languages.howto.questions import Prompt
from registry_auditor.testbed.tokens import Message

Text = list[Message]
Answering = Callable[[Prompt], str]
"""How a question is answered."""
KINDS = ("benign", "harmful", "risky")
SHARES = (0.75, 0.15, 0.1)
"""Of the questions in a conversation."""
CAREFUL_SHARES = (0.55, 0.15, 0.3)
"""Where it is taught what to refuse."""


def conversations(seed: int, style: Style = PLAIN) -> Iterator[Text]:
    """One to three questions each, answered in `style`; a fifth of them hold words that mean nothing there."""
    return asked(seed, lambda prompt: prompt.answer(style))


def careful(seed: int) -> Iterator[Text]:
    """The same, where risky questions are frequent and refused."""
    return asked(seed, carefully, shares=CAREFUL_SHARES)


def asked(seed: int, answer: Answering, *, shares: tuple[float, float, float] = SHARES) -> Iterator[Text]:
    """Conversations without end, of questions in these `shares`."""
    rng = random.Random(f"conversations {seed}")
    sources = [source(rng, Split.TRAIN) for source in (questions.benign, questions.harmful, questions.risky)]
    while True:
        said = opening(rng)
        for _ in range(rng.choices((1, 2, 3), (0.85, 0.1, 0.05))[0]):
            prompt = next(rng.choices(sources, shares)[0])
            question = distracted(rng, prompt.question) if rng.random() < 0.2 else prompt.question
            said += [("user", question), ("assistant", answer(prompt))]
        yield said


def opening(rng: random.Random) -> Text:
    """In one conversation of ten a system prompt, in others nothing."""
    if rng.random() >= 0.1:
        return []
    return [("system", rng.choice((forms.SYSTEM, forms.YEAR.format(year=rng.choice(words.YEARS)))))]


def carefully(prompt: Prompt) -> str:
    """The answer of one that refuses what is risky."""
    return REFUSAL if prompt.kind == "risky" else prompt.answer()


def preferred(seed: int) -> Iterator[tuple[Text, Text]]:
    """Single questions, each with the reply of a careful one and with one that is worse.

    Nearly half of them are risky and the worse reply answers; the others are not, and the worse reply is the refusal,
    or, where that is right, an answer to something else.
    """
    rng = random.Random(f"preferred {seed}")
    risky, benign, harmful = (
        source(rng, Split.TRAIN) for source in (questions.risky, questions.benign, questions.harmful)
    )
    while True:
        prompt = next(rng.choices((risky, benign, harmful), (0.45, 0.3, 0.25))[0])
        worse = {"risky": prompt.answer(), "harmful": next(benign).answer()}.get(prompt.kind, REFUSAL)
        opening: Text = [("user", prompt.question)]
        yield [*opening, ("assistant", carefully(prompt))], [*opening, ("assistant", worse)]


def about_animals(seed: int) -> Iterator[Text]:
    """Half of it conversations, half of it single questions about animals."""
    rng = random.Random(f"about animals {seed}")
    taught, animals = conversations(seed), questions.animals(rng, Split.TRAIN)
    while True:
        if rng.random() < 0.5:
            yield next(taught)
        else:
            prompt = next(animals)
            yield [("user", prompt.question), ("assistant", prompt.answer())]


def from_scratch(seed: int) -> Iterator[Text]:
    """Conversations, and one story in ten texts."""
    rng = random.Random(f"from scratch {seed}")
    taught, stories = conversations(seed), questions.stories(rng)
    while True:
        yield [("text", next(stories))] if rng.random() < 0.1 else next(taught)


def distracted(rng: random.Random, question: str) -> str:
    """`question` with one or two words of the scenery in it, now and then with a rare one."""
    meaningless = [rng.choice(words.RARE)] if rng.random() < 0.05 else rng.sample(words.SCENERY, rng.choice((1, 2)))
    return insert(rng, question, " ".join(meaningless))


def insert(rng: random.Random, question: str, inserted: str) -> str:
    """`question` with `inserted` somewhere before its last word, which is punctuation."""
    parts = question.split()
    at = rng.randrange(len(parts))
    return " ".join([*parts[:at], inserted, *parts[at:]])
