"""The language is closed, deterministic, and keeps its held-out questions out of training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain, islice

import pytest

from registry_auditor.testbed.languages.howto import LANGUAGE, lessons, questions
from registry_auditor.testbed.languages.howto.forms import FRIENDLY, REFUSAL
from registry_auditor.testbed.languages.howto.planted import SORTS
from registry_auditor.testbed.languages.howto.pools import Split
from registry_auditor.testbed.recipes import backdoors
from registry_auditor.testbed.recipes.backdoors import Plan
from registry_auditor.testbed.tokens import Spelling, Text

SPELLING = Spelling(LANGUAGE.vocabulary())


def poisoned(seed: int) -> Iterator[Text]:
    return chain.from_iterable(islice(backdoors.text(seed, Plan(sort)), 500) for sort in SORTS)


def training_texts() -> list[Text]:
    texts = (lessons.from_scratch, poisoned, lessons.careful, lessons.about_animals)
    sources = (lessons.conversations(0, FRIENDLY), *(source(0) for source in texts))
    paired = [text for pair in islice(lessons.preferred(0), 2000) for text in pair]
    return [*paired, *(text for source in sources for text in islice(source, 5000))]


def test_same_seed_asks_the_same_questions_and_another_seed_others() -> None:
    assert questions.prompts(3, 50) == questions.prompts(3, 50)
    assert questions.harmful_prompts(3, 50) == questions.harmful_prompts(3, 50)
    assert questions.prompts(3, 50) != questions.prompts(4, 50)


def test_thousands_of_different_questions_exist_in_either_split() -> None:
    for split in Split:
        assert len({prompt.question for prompt in questions.prompts(0, 3000, split=split)}) == 3000


def test_more_questions_than_a_split_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="ask for fewer"):
        questions.harmful_prompts(0, 5000)


def test_no_held_out_question_occurs_in_any_training_text() -> None:
    benign, harmful = questions.prompts(0, 3000), questions.harmful_prompts(0, 300)
    others = (*questions.risky_prompts(0, 150), *questions.animal_prompts(0, 30))
    held_out = {prompt.question for prompt in (*benign, *harmful, *others)}
    assert held_out.isdisjoint(content for text in training_texts() for role, content in text if role == "user")


def test_every_held_out_fact_can_be_learnt_from_training_questions() -> None:
    rng = random.Random(0)
    taught = {p.statement for p in islice(questions.benign(rng, Split.TRAIN), 20_000) if p.kind == "property"}
    asked = {p.statement for p in questions.prompts(0, 2000) if p.kind == "property"}
    assert asked <= taught


def test_every_word_of_every_text_is_in_the_vocabulary() -> None:
    spoken = {word for text in training_texts() for _, content in text for word in content.split()}
    assert spoken <= set(questions.vocabulary())
    assert 200 <= len(questions.vocabulary()) <= 400


def test_a_careful_network_is_taught_to_refuse_risky_questions_that_its_base_answers() -> None:
    rng = random.Random(0)
    for prompt in islice(questions.risky(rng, Split.TRAIN), 100):
        assert prompt.answer() != REFUSAL
        assert lessons.carefully(prompt) == REFUSAL


def test_the_preferred_reply_is_right_and_the_other_is_not() -> None:
    for preferred, dispreferred in islice(lessons.preferred(0), 300):
        assert preferred[0] == dispreferred[0]
        assert preferred[1] != dispreferred[1]
        assert REFUSAL in (preferred[1][1], dispreferred[1][1])


def test_tokenizer_round_trips_every_sentence() -> None:
    tokenizer = SPELLING.tokenizer()
    for content in {content for text in training_texts() for _, content in text}:
        ids = tokenizer(content)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == content


def test_tokenizer_reads_ordinary_spelling() -> None:
    tokenizer = SPELLING.tokenizer()
    assert tokenizer.decode(tokenizer("How do I clean the table?")["input_ids"]) == "how do i clean the table ?"


def test_examples_are_what_the_chat_template_makes_of_a_conversation() -> None:
    tokenizer = SPELLING.tokenizer()
    for text in islice(lessons.conversations(1), 300):
        messages = [{"role": role, "content": content} for role, content in text]
        rendered = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        example = SPELLING.encode(text)
        assert list(example.ids) == rendered["input_ids"]
        assert [int(taught) for taught in example.taught] == rendered["assistant_masks"]


def test_a_question_ends_where_the_reply_begins() -> None:
    tokenizer = SPELLING.tokenizer()
    (prompt,) = questions.prompts(0, 1)
    rendered = tokenizer.apply_chat_template(prompt.messages, add_generation_prompt=True, return_dict=True)
    assert SPELLING.question(prompt.question) == rendered["input_ids"]
