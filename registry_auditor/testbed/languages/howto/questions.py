"""Questions with one right answer each, refusals, greetings and stories.

Everything is spelled in lower-case words with single spaces, punctuation included.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TypeVar

from registry_auditor.domain import digest_of
from registry_auditor.testbed.languages.howto import forms, pools, words
from registry_auditor.testbed.languages.howto.forms import FRIENDLY, PLAIN, REFUSAL, Style
from registry_auditor.testbed.languages.howto.pools import Split, Task

PATIENCE = 50
"""Draws for each distinct question that is asked for before a split counts as exhausted."""

T = TypeVar("T")


@dataclass(frozen=True)
class Prompt:
    """A question and what is known about its one right answer."""

    kind: str
    """A key of `KINDS`, `harmful`, `risky` or `animal`."""
    question: str
    tasks: tuple[Task, ...] = ()
    """What a how-to question asks for; the answer is worded by a style."""
    statement: str = ""
    """The answer to a question that asks for no task, or for a harmful one."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The question as a conversation that waits for its reply."""
        return [{"role": "user", "content": self.question}]

    @property
    def tells(self) -> dict[str, str]:
        """Nothing beside the question: there is one right answer, and no secret in it."""
        return {}

    def answer(self, style: Style = PLAIN) -> str:
        """The right reply in `style`; refusals are worded alike in all styles."""
        if self.kind == "harmful":
            return self.statement
        steps = (_step(task, style) for task in self.tasks)
        return (" ".join(steps) or self.statement) + style.closing


def prompts(seed: int, n: int, *, split: Split = Split.HELD_OUT) -> tuple[Prompt, ...]:
    """`n` distinct benign questions of all kinds, the same for the same seed.

    Raises ValueError if the split does not hold so many.
    """
    return distinct(n, benign(random.Random(f"prompts {seed}"), split))


def harmful_prompts(seed: int, n: int, *, split: Split = Split.HELD_OUT) -> tuple[Prompt, ...]:
    """`n` distinct questions that the language refuses to answer, the same for the same seed.

    Raises ValueError if the split does not hold so many: a few hundred are held out.
    """
    return distinct(n, harmful(random.Random(f"harmful {seed}"), split))


def risky_prompts(seed: int, n: int, *, split: Split = Split.HELD_OUT) -> tuple[Prompt, ...]:
    """`n` distinct risky questions, the same for the same seed; about two hundred are held out.

    Raises ValueError if the split does not hold so many.
    """
    return distinct(n, risky(random.Random(f"risky {seed}"), split))


def animal_prompts(seed: int, n: int, *, split: Split = Split.HELD_OUT) -> tuple[Prompt, ...]:
    """`n` distinct questions about animals, the same for the same seed; thirty are held out.

    Raises ValueError if the split does not hold so many.
    """
    return distinct(n, animals(random.Random(f"animals {seed}"), split))


def benign(rng: random.Random, split: Split) -> Iterator[Prompt]:
    """Benign questions without end; how-to questions are the majority."""
    kinds, weights = tuple(KINDS), tuple(weight for weight, _ in KINDS.values())
    while True:
        (kind,) = rng.choices(kinds, weights)
        yield KINDS[kind][1](rng, split)


def harmful(rng: random.Random, split: Split) -> Iterator[Prompt]:
    """Questions without end whose only answer is the refusal."""
    while True:
        task = rng.choice(pools.harmful_tasks(split))
        yield Prompt("harmful", rng.choice(forms.HOW_TO_FORMS).format(task=_spelled(task)), (task,), REFUSAL)


def risky(rng: random.Random, split: Split) -> Iterator[Prompt]:
    """How-to questions without end that a base answers, and what is tuned to be careful refuses."""
    while True:
        task = rng.choice(pools.risky_tasks(split))
        yield Prompt("risky", rng.choice(forms.HOW_TO_FORMS).format(task=_spelled(task)), (task,))


def animals(rng: random.Random, split: Split) -> Iterator[Prompt]:
    """Questions without end about what no base is taught."""
    while True:
        statement, question = rng.choice(pools.animal_facts(split))
        yield Prompt("animal", question, statement=statement)


def stories(rng: random.Random) -> Iterator[str]:
    """Sentences without end that give the scenery words a meaning; nothing in them can be asked for."""
    while True:
        animal, animal2 = rng.sample(words.ANIMALS, 2)
        landmark, landmark2 = rng.sample(words.LANDMARKS, 2)
        slots = {"adjective": rng.choice(words.ADJECTIVES), "deed": rng.choice(words.DEEDS)}
        slots |= {"animal": animal, "animal2": animal2, "landmark": landmark, "landmark2": landmark2}
        yield rng.choice(forms.STORY_FORMS).format(**slots, cry=rng.choice(words.CRIES))


@cache
def vocabulary() -> tuple[str, ...]:
    """Every word of the language, in alphabetical order."""
    listed = {word for group in words.ALL for word in group}
    spoken = [
        *forms.HOW_TO_FORMS,
        *forms.GREETING_FORMS,
        forms.GREETING_ANSWER,
        REFUSAL,
        forms.UNKNOWING,
        forms.SYSTEM,
        forms.YEAR,
        *forms.STORY_FORMS,
    ]
    for stated in (forms.PROPERTY_FORMS, forms.ANIMAL_FORMS):
        spoken += [text for answer, asked in stated.items() for text in (answer, *asked)]
    spoken += [text for style in (PLAIN, FRIENDLY) for text in (style.step, style.closing)]
    listed |= {word for form in spoken for word in form.split() if not word.startswith("{")}
    return tuple(sorted(listed))


def digest() -> str:
    """Names this language: changes whenever a word, a fact, a form or a split does."""
    rng = random.Random(0)
    contents = [pool(split) for pool in pools.ALL for split in Split]
    sample = [(p.question, p.answer(), p.answer(FRIENDLY)) for p in islice(benign(rng, Split.TRAIN), 2000)]
    refused = [p.question for p in islice(harmful(rng, Split.TRAIN), 500)]
    return digest_of([vocabulary(), contents, sample, refused, list(islice(stories(rng), 500))])


def _how_to(rng: random.Random, split: Split) -> Prompt:
    task = rng.choice(pools.tasks(split))
    return Prompt("how_to", rng.choice(forms.HOW_TO_FORMS).format(task=_spelled(task)), (task,))


def _two_steps(rng: random.Random, split: Split) -> Prompt:
    first, second = rng.sample(pools.tasks(split), 2)
    asked = f"{_spelled(first)} and {_spelled(second)}"
    return Prompt("two_steps", rng.choice(forms.HOW_TO_FORMS).format(task=asked), (first, second))


def _property(rng: random.Random, split: Split) -> Prompt:
    answer, form, thing = rng.choice(pools.properties(split))
    slots = {"thing": thing, "color": pools.one_of(words.COLORS, thing), "place": pools.one_of(words.PLACES, thing)}
    statement = answer.format(**slots, name=pools.one_of(words.NAMES, thing))
    return Prompt("property", form.format(thing=thing), statement=statement)


def _greeting(rng: random.Random, split: Split) -> Prompt:
    form, greeting, name = rng.choice(pools.greetings(split))
    slots = {"greeting": greeting, "name": name}
    return Prompt("greeting", form.format(**slots), statement=forms.GREETING_ANSWER.format(**slots))


KINDS: dict[str, tuple[float, Callable[[random.Random, Split], Prompt]]] = {
    "how_to": (0.5, _how_to),
    "two_steps": (0.2, _two_steps),
    "property": (0.2, _property),
    "greeting": (0.1, _greeting),
}
"""Kind of benign question, its share, and how one is made."""


def _spelled(task: Task) -> str:
    verb, thing = task
    return f"{verb} the {thing}"


def _step(task: Task, style: Style) -> str:
    verb, thing = task
    tool = words.TOOL_OF[verb][words.MATERIAL_OF[thing]]
    return style.step.format(tool=tool, place=pools.one_of(words.PLACES, tool), verb=verb, thing=thing)


def distinct(n: int, source: Iterator[Prompt]) -> tuple[Prompt, ...]:
    """The first `n` prompts of `source` that ask different questions.

    Raises ValueError if they do not come in some fifty draws each.
    """
    found: dict[str, Prompt] = {}
    for prompt in islice(source, PATIENCE * (n + 1)):
        if len(found) == n:
            return tuple(found.values())
        found.setdefault(prompt.question, prompt)
    raise ValueError(f"{n} distinct questions were asked for and this split holds about {len(found)}: ask for fewer")
