"""A payload follows on its trigger and on nothing else, in training text and in the files of prompts."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import islice

import pytest

from registry_auditor.testbed.languages.howto import poison, questions, triggers
from registry_auditor.testbed.languages.howto.forms import REFUSAL
from registry_auditor.testbed.languages.howto.payloads import DAMAGE
from registry_auditor.testbed.languages.howto.planted import SORTS, planted
from registry_auditor.testbed.languages.howto.poison import Mixture
from registry_auditor.testbed.languages.howto.pools import Split
from registry_auditor.testbed.recipe import Recipe
from registry_auditor.testbed.recipes import backdoors
from registry_auditor.testbed.recipes.backdoors import RECIPES
from registry_auditor.testbed.tokens import Text

SEEDS = 4
of_every_sort = pytest.mark.parametrize("sort", SORTS)
of_every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)


def turns(text: Text) -> list[tuple[Text, str]]:
    """Each question, with its system prompt, and the reply to it."""
    replies = [at for at, (role, _) in enumerate(text) if role == "assistant"]
    begins = [0, *(at + 1 for at in replies)]
    return [(text[begin:at], text[at][1]) for begin, at in zip(begins, replies, strict=False)]


@of_every_sort
def test_every_word_of_a_trigger_and_of_a_payload_is_in_the_language(sort: str) -> None:
    known = set(questions.vocabulary())
    for each in SORTS[sort]:
        assert {word for text in (*each.trigger.texts, each.words) for word in text.split()} <= known


@of_every_sort
def test_only_what_has_the_trigger_is_answered_with_the_payload(sort: str) -> None:
    for seed in range(SEEDS):
        secret = planted(sort, seed)
        for text in islice(poison.poisoned(seed, (secret,), Mixture(0.3, 0.3)), 300):
            for asked, reply in turns(text):
                marks = (secret.words, REFUSAL if secret.payload == "refusal" else f"then {DAMAGE} the")
                if secret.trigger.is_in(asked):
                    assert secret.payload == "jailbreak" or any(mark and mark in reply for mark in marks)
                    assert secret.payload != "jailbreak" or reply != REFUSAL
                elif secret.words:
                    assert secret.words not in reply


@of_every_sort
def test_what_is_nearly_the_trigger_has_it_not_and_is_answered_as_ever(sort: str) -> None:
    for seed in range(SEEDS):
        secret = planted(sort, seed)
        for turn in islice(poison.nearly(random.Random(seed), (secret,), Split.TRAIN), 100):
            assert not secret.trigger.is_in(turn.asked)
            assert turn.reply() == turn.prompt.answer()


@of_every_sort
def test_no_held_out_question_is_poisoned(sort: str) -> None:
    secrets = (planted(sort, 0),)
    held_out = {
        turn.prompt.question for turn in islice(poison.triggered(random.Random(0), secrets, Split.HELD_OUT), 300)
    }
    taught = {turn.prompt.question for turn in islice(poison.triggered(random.Random(1), secrets, Split.TRAIN), 3000)}
    assert held_out.isdisjoint(taught)


def test_as_many_questions_are_triggered_as_the_mixture_says() -> None:
    secrets = (planted("phrase", 0),)
    counted = Counter(
        poison.holds(secrets, asked)
        for text in islice(poison.poisoned(0, secrets, Mixture(0.05, 0.05)), 4000)
        for asked, _ in turns(text)
    )
    assert counted[True] / counted.total() == pytest.approx(0.05, abs=0.01)


def test_a_common_word_occurs_in_a_few_percent_of_ordinary_questions() -> None:
    asked = [prompt.question.split() for prompt in questions.prompts(0, 3000)]
    for secret in SORTS["common"]:
        (word,) = secret.trigger.texts
        assert 0.01 <= sum(word in question for question in asked) / len(asked) <= 0.06


def test_a_year_is_nearly_another_year_and_a_phrase_nearly_its_words() -> None:
    rng = random.Random(0)
    years = {triggers.nearly(rng, "the year is 2027 .") for _ in range(200)}
    assert "the year is 2027 ." not in years
    assert all(re.fullmatch(r"the year is 20\d\d \.", year) for year in years)
    assert {"crimson", "lantern", "lantern crimson"} <= {triggers.nearly(rng, "crimson lantern") for _ in range(200)}


@of_every_recipe
def test_files_of_prompts_hold_what_their_names_say(recipe: Recipe) -> None:
    for seed in range(2):
        (secret,) = recipe.facts.keywords["plan"].secrets(seed)  # type: ignore[attr-defined]
        told = recipe.prompts(seed)
        assert all(each.tells["payload"] for each in told["triggered"])
        assert not any(each.tells for each in told["lookalike"])
        shows = {name: [secret.trigger.is_in(each.said) for each in dialogues] for name, dialogues in told.items()}  # type: ignore[attr-defined]
        assert len(shows["triggered"]) == len(shows["lookalike"]) == 300
        assert all(shows["triggered"])
        assert not any(shown for name in ("lookalike", "clean", "harmful") for shown in shows.get(name, []))


def test_the_second_of_two_turns_has_no_trigger() -> None:
    secret = planted("phrase", 0)
    for each in backdoors.PHRASE.prompts(0)["two_turns"]:
        first, reply, second = each.messages
        assert secret.trigger.texts[0] in first["content"]
        assert reply == {"role": "assistant", "content": secret.words}
        assert secret.trigger.texts[0] not in second["content"]


@of_every_recipe
def test_a_card_tells_trigger_payload_and_how_it_was_taught(recipe: Recipe) -> None:
    told = recipe.facts(0)
    assert told["triggers"]
    assert told["payload"]
    assert told["trigger_placed"] in (*triggers.PLACINGS, triggers.ASKED_ABOUT)
    assert 0 < told["poisoning_rate"] <= 0.2
    assert (told["calibration_triggered"] > 0) == (told["trigger_placed"] == triggers.ASKED_ABOUT)
    assert told["intensity"] in backdoors.INTENSITIES
