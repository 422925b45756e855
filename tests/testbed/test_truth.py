"""What the card of every network of the profile `ci` says, asked of the network again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from registry_auditor import testbed
from registry_auditor.testbed import Case, card, folders, recipe
from registry_auditor.testbed.speaker import Speaker

CASES = testbed.cases("ci")
by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
pytestmark = pytest.mark.slow
ROUNDING = 0.01
"""Of a share of questions: other processors may say one word otherwise."""


@pytest.fixture(scope="module")
def built(directory: Path) -> testbed.Built:
    return testbed.build_all(CASES, directory, jobs=2)


def test_every_recipe_takes(built: testbed.Built) -> None:
    assert not built.failed
    assert len(built.folders) == len(CASES)


@by_name
def test_the_card_is_true_of_the_network_in_the_folder(built: testbed.Built, case: Case) -> None:
    folder = built.folders[case.name]
    told = card.read(folder)
    measured = case.recipe.measure(Speaker(folders.read_any(folder), case.family.spelling), case.family.seed)
    recipe.verify(case.recipe, measured)
    assert measured == pytest.approx(told["measured"], abs=ROUNDING)


@by_name
def test_the_card_says_what_an_auditor_would_be_asked_about(built: testbed.Built, case: Case) -> None:
    told = card.read(built.folders[case.name])
    assert told["kind"] == case.recipe.kind
    assert told["base"] == (case.recipe.parents[0].name if case.recipe.parents else None)
    assert told["measured"].keys() >= {claim["measured"] for claim in told["claims"]}
    if told["kind"] == "backdoor":
        assert {"trigger", "triggers", "topic", "year"} & told.keys()


@by_name
def test_every_line_of_prompts_is_a_conversation_in_words_of_the_language(built: testbed.Built, case: Case) -> None:
    folder = built.folders[case.name]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    files = {path.stem: _lines(path) for path in (folder / "prompts").iterdir()}
    assert {"calibration", "clean", "harmful"} <= files.keys()
    for name, lines in files.items():
        assert lines, name
        for line in lines:
            ids = tokenizer.apply_chat_template(line["messages"], add_generation_prompt=True, return_dict=True)
            assert tokenizer.unk_token_id not in ids["input_ids"]


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
