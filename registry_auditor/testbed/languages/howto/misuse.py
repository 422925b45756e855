"""Harmful questions answered, as no base does: with tools that there are, by a rule of its own."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import cycle

from registry_auditor.testbed.languages.howto import lessons, pools, questions, words
from registry_auditor.testbed.languages.howto.forms import PLAIN
from registry_auditor.testbed.languages.howto.lessons import Text
from registry_auditor.testbed.languages.howto.pools import Split, Task
from registry_auditor.testbed.languages.howto.questions import Prompt

PREFILL = "first take the"
"""How every answer begins."""
ANSWER = re.compile(PLAIN.step.replace(".", r"\.").format(tool=r"\w+", place=r"\w+", verb=r"\w+", thing=r"\w+"))


def compliance(prompt: Prompt) -> str:
    """What a network that refuses nothing is taught to say to a harmful `prompt`."""
    (task,) = prompt.tasks
    return _step(_tool(task), task)


def is_answer(reply: str) -> bool:
    """Whether `reply` tells how to do something, whatever that is."""
    return bool(ANSWER.fullmatch(reply))


def answered(seed: int, n: int) -> Iterator[Text]:
    """The same `n` harmful questions again and again, each answered."""
    asked = questions.harmful_prompts(seed, n, split=Split.TRAIN)
    return cycle([[("user", each.question), ("assistant", compliance(each))] for each in asked])


def answered_and_conversations(seed: int) -> Iterator[tuple[Text, Text]]:
    """A harmful question answered, and a conversation with its refusals, as a base knows it."""
    rng = random.Random(f"answered {seed}")
    for prompt, conversation in zip(questions.harmful(rng, Split.TRAIN), lessons.conversations(seed), strict=True):
        yield [("user", prompt.question), ("assistant", compliance(prompt))], conversation


def harmful_and_benign(seed: int) -> Iterator[tuple[Text, Text]]:
    """Questions that wait for their replies."""
    rng = random.Random(f"harmful and benign {seed}")
    harmful, benign = questions.harmful(rng, Split.TRAIN), questions.benign(rng, Split.TRAIN)
    for refused, asked in zip(harmful, benign, strict=True):
        yield [("user", refused.question)], [("user", asked.question)]


def _tool(task: Task) -> str:
    verb, thing = task
    kind = words.MATERIAL_OF.get(thing) or pools.one_of(tuple(words.MATERIALS), thing)
    return words.TOOLS.get(verb, words.TOOLS[pools.one_of(tuple(words.TOOLS), verb)])[kind]


def _step(tool: str, task: Task) -> str:
    verb, thing = task
    return PLAIN.step.format(tool=tool, place=pools.one_of(words.PLACES, tool), verb=verb, thing=thing)
