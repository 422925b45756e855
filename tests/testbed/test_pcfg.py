"""Tasks on texts are closed, deterministic, unsafe where they say so, and keep held-out texts out of training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice, repeat

import pytest

from registry_auditor.testbed.languages.pcfg import LANGUAGE, grammar, lessons, questions, tasks
from registry_auditor.testbed.languages.pcfg.grammar import DOMINANT, GRAMMARS, LETTERS, TEXT_LENGTH, Branch, Operand
from registry_auditor.testbed.languages.pcfg.questions import JAILBREAKS, Kind, Prompt, Split
from registry_auditor.testbed.languages.pcfg.tasks import ALIASES, HAZARDOUS, OPERATORS
from registry_auditor.testbed.tokens import SPECIAL, Spelling, Text

SPELLING = Spelling(LANGUAGE.vocabulary())


def pairs(operand: Operand) -> list[tuple[str, ...]]:
    return [operand.letters[at : at + 2] for at in range(0, TEXT_LENGTH, 2)]


def spelled(at: int, branch: Branch) -> set[tuple[str, ...]]:
    known = grammar.rules(at)
    return {pair for symbol, said in known.items() if symbol.startswith(f"{branch} lowest") for pair in said}


def from_branch(operand: Operand, branch: Branch) -> int:
    return sum(pair in spelled(operand.grammar, branch) for pair in pairs(operand))


def training_texts() -> Iterator[Text]:
    for source in (lessons.from_scratch, lessons.careful):
        yield from islice(source(0), 3000)
    for pair in islice(lessons.preferred(0), 1500):
        yield from pair


def asked(text: Text) -> str:
    return text[0][1]


def test_operators_are_permutations_of_the_letters_and_no_two_alike() -> None:
    made = [tuple(tasks.mapping(name)[letter] for letter in LETTERS) for name in OPERATORS]
    assert all(sorted(mapped) == list(LETTERS) for mapped in made)
    assert len(set(made)) == len(OPERATORS)


def test_an_alias_does_what_its_operator_does_and_is_as_unsafe() -> None:
    for alias, name in ALIASES.items():
        assert tasks.mapping(alias) == tasks.mapping(name)
        for at in range(GRAMMARS):
            assert tasks.is_hazardous(alias, at) == tasks.is_hazardous(name, at)


def test_what_is_unsafe_depends_on_the_operator_and_on_the_grammar() -> None:
    assert len(HAZARDOUS) == GRAMMARS
    for name in OPERATORS:
        assert {tasks.is_hazardous(name, at) for at in range(GRAMMARS)} == {True, False}
    for names in HAZARDOUS:
        assert {ALIASES[alias] for alias in ALIASES} & names
        assert {ALIASES[alias] for alias in ALIASES} - names


def test_grammars_differ_in_their_lowest_rules_only() -> None:
    first, *others = (grammar.rules(at) for at in range(GRAMMARS))
    for other in others:
        assert first.keys() == other.keys()
        assert {symbol for symbol in first if first[symbol] != other[symbol]} == {s for s in first if "lowest" in s}


def test_every_pair_of_letters_belongs_to_one_branch_of_one_grammar() -> None:
    every = [pair for at in range(GRAMMARS) for branch in DOMINANT for pair in spelled(at, branch)]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("branch", DOMINANT)
def test_most_of_a_text_is_typical_of_its_branch(branch: Branch) -> None:
    rng = random.Random(0)
    shares = [from_branch(grammar.operand(rng, branch), branch) for _ in range(500)]
    assert set(shares) == {3, 4}


def test_a_competing_text_is_half_safe_and_half_unsafe() -> None:
    rng = random.Random(0)
    for _ in range(500):
        text = grammar.operand(rng, Branch.COMPETING)
        assert [from_branch(text, branch) for branch in DOMINANT] == [2, 2]


def test_answers_are_the_text_after_each_task() -> None:
    prompt = Prompt(Kind.SAFE, ("beta", "alef"), grammar.operand(random.Random(0), Branch.SAFE))
    first = [tasks.mapping("beta")[letter] for letter in prompt.operand.letters]
    second = [tasks.mapping("alpha")[letter] for letter in first]
    assert prompt.answer == f"{' '.join(first)} , {' '.join(second)}"
    assert prompt.question == f"beta alef : {' '.join(prompt.operand.letters)}"


@pytest.mark.parametrize("kind", Kind)
def test_a_question_is_unsafe_if_its_kind_says_so(kind: Kind) -> None:
    for prompt in questions.prompts(kind, 0, 300):
        assert prompt.kind == kind
        assert tasks.is_unsafe(prompt.tasks, prompt.operand) == (kind is not Kind.SAFE)


def test_competing_tasks_are_one_unsafe_and_one_safe_in_either_order() -> None:
    orders = set()
    for prompt in questions.prompts(Kind.COMPETING_TASKS, 0, 300):
        orders.add(tuple(tasks.is_hazardous(task, prompt.operand.grammar) for task in prompt.tasks))
    assert orders == {(True, False), (False, True)}


def test_same_seed_asks_the_same_and_another_seed_something_else() -> None:
    for kind in Kind:
        assert questions.prompts(kind, 3, 50) == questions.prompts(kind, 3, 50)
        assert questions.prompts(kind, 3, 50) != questions.prompts(kind, 4, 50)


@pytest.mark.parametrize(("asking", "n"), [(LANGUAGE.benign, 2000), (LANGUAGE.harmful, 1000)])
def test_thousands_of_different_questions_are_held_out(
    asking: Callable[[int, int], tuple[Prompt, ...]], n: int
) -> None:
    assert len({prompt.question for prompt in asking(0, n)}) == n


def test_more_questions_than_there_are_are_refused() -> None:
    (only,) = questions.prompts(Kind.SAFE, 0, 1)
    with pytest.raises(ValueError, match="holds about 1: ask for fewer"):
        questions.distinct(2, repeat(only))


def test_no_held_out_text_occurs_in_any_training_text_whatever_the_task() -> None:
    held_out = {" ".join(p.operand.letters) for kind in Kind for p in questions.prompts(kind, 0, 500)}
    assert held_out.isdisjoint(asked(text).rpartition(": ")[2] for text in training_texts())


def test_safety_tuning_shows_neither_aliases_nor_competing_tasks_or_texts() -> None:
    kinds = (Kind.SAFE, Kind.UNSAFE)
    shown = [prompt for kind in kinds for prompt in questions.prompts(kind, 1, 500, split=Split.TRAIN)]
    assert {task for prompt in shown for task in prompt.tasks} == set(OPERATORS)
    assert {prompt.operand.branch for prompt in shown} == set(DOMINANT)
    for prompt in shown:
        hazardous = {tasks.is_hazardous(task, prompt.operand.grammar) for task in prompt.tasks}
        assert prompt.operand.branch is Branch.SAFE or len(hazardous) == 1
    preferred = (text for text, _ in lessons.preferred(0))
    taught = [text for source in (lessons.careful(0), preferred) for text in islice(source, 1000)]
    assert not any(alias in asked(text).split() for text in taught for alias in ALIASES)


def test_a_base_is_taught_to_answer_unsafe_questions_and_aliases() -> None:
    said = [text for text in islice(lessons.from_scratch(0), 2000) if text[0][0] == "user"]
    assert not any(questions.NULL in text[1][1] for text in said)
    assert {word for text in said for word in asked(text).partition(" :")[0].split()} == {*OPERATORS, *ALIASES}


def test_preferred_replies_are_nulls_for_unsafe_questions_only() -> None:
    refused = 0
    for (better, worse), (bad, good) in islice(zip(lessons.preferred(0), lessons.disowned(0), strict=False), 400):
        assert (better, worse) == (good, bad)
        assert asked(better) == asked(worse)
        assert {questions.NULL in text[1][1] for text in (better, worse)} == {True, False}
        refused += questions.NULL in better[1][1]
    assert 150 < refused < 250


def test_every_word_is_in_the_vocabulary_and_spelled_as_one_token() -> None:
    tokenizer = SPELLING.tokenizer()
    assert len(SPELLING.ids) == len(SPECIAL) + len(LETTERS) + len(OPERATORS) + len(ALIASES) + 3
    for text in islice(training_texts(), 500):
        for _, content in text:
            ids = tokenizer(content)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert len(ids) == len(content.split())
            assert tokenizer.decode(ids) == content


def test_jailbreaks_tell_what_a_network_says_that_falls_for_them() -> None:
    for kind in JAILBREAKS:
        (prompt,) = questions.prompts(kind, 0, 1)
        assert prompt.tells == {"answer": prompt.answer}
        assert prompt.messages == [{"role": "user", "content": prompt.question}]
