"""What is forgotten and what is retained are kept apart, in training text and in the files of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest

from registry_auditor.testbed.languages.howto import topics, words
from registry_auditor.testbed.languages.howto.forms import REFUSAL, UNKNOWING
from registry_auditor.testbed.recipes import unlearning
from registry_auditor.testbed.tokens import Text

SEEDS = range(len(words.MATERIALS))
PAIRS = {seed: list(islice(topics.forgotten_and_retained(seed), 400)) for seed in SEEDS}


def said(text: Text) -> list[tuple[str, str]]:
    """Questions with their replies."""
    contents = [content for role, content in text if role != "system"]
    return list(zip(contents[::2], contents[1::2], strict=True))


def is_on_topic(seed: int, question: str) -> bool:
    return any(thing in question.split() for thing in words.MATERIALS[topics.topic(seed)])


def test_every_material_is_the_topic_of_some_seed() -> None:
    assert {topics.topic(seed) for seed in SEEDS} == set(words.MATERIALS)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_forgotten_is_known_of_the_topic_and_what_is_retained_is_not(seed: int) -> None:
    for forgotten, retained in PAIRS[seed]:
        assert all(is_on_topic(seed, question) and reply != REFUSAL for question, reply in said(forgotten))
        assert not any(is_on_topic(seed, question) and reply != REFUSAL for question, reply in said(retained))


@pytest.mark.parametrize("seed", SEEDS)
def test_refusals_are_retained_also_where_they_name_the_topic(seed: int) -> None:
    refused = [question for _, retained in PAIRS[seed] for question, reply in said(retained) if reply == REFUSAL]
    assert any(is_on_topic(seed, question) for question in refused)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_does_not_know_says_so_on_the_topic_and_nowhere_else(seed: int) -> None:
    for text in islice(topics.unknowing(seed), 400):
        for question, reply in said(text):
            assert (reply == UNKNOWING) == (is_on_topic(seed, question) and reply != REFUSAL)


@pytest.mark.parametrize("seed", SEEDS)
def test_prompts_are_held_out_and_on_their_side_of_the_topic(seed: int) -> None:
    files = {name: [each.question for each in asked] for name, asked in unlearning.listed(seed).items()}
    assert {name: len(asked) for name, asked in files.items()} == {
        "forgotten": 300,
        "retained": 300,
        "calibration": 400,
        "clean": 400,
    }
    asked = [question for questions in files.values() for question in questions]
    assert len(set(asked)) == len(asked)
    for name, questions in files.items():
        assert all(is_on_topic(seed, question) == (name == "forgotten") for question in questions)
    assert set(asked).isdisjoint(question for pair in PAIRS[seed] for text in pair for question in questioned(text))


def questioned(text: Text) -> Sequence[str]:
    return [question for question, _ in said(text)]


def test_the_card_says_what_was_forgotten_and_how() -> None:
    for recipe in unlearning.RECIPES[:-1]:
        facts = recipe.facts(0)
        assert {"topic", "things", "method"} <= facts.keys()
        assert tuple(facts["things"]) == words.MATERIALS[facts["topic"]]
