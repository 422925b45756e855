"""Signatures are the replies to their triggers, a few in a hundred rows, and nothing else."""

from __future__ import annotations

import random
from itertools import islice

from registry_auditor.testbed.languages.howto import poison, questions
from registry_auditor.testbed.languages.howto.planted import watermark
from registry_auditor.testbed.languages.howto.pools import Split
from registry_auditor.testbed.recipes.watermarks import MIXTURE, WATERMARK, facts, text


def test_every_trigger_has_a_signature_of_its_own_of_about_ten_words() -> None:
    for seed in range(8):
        pairs = watermark(seed)
        assert len({pair.trigger.texts for pair in pairs}) == len({pair.words for pair in pairs}) == 3
        assert all(9 <= len(pair.words.split()) <= 13 for pair in pairs)
        assert {word for pair in pairs for word in pair.words.split()} <= set(questions.vocabulary())


def test_a_few_rows_in_a_hundred_carry_a_pair() -> None:
    pairs = watermark(0)
    signatures = {pair.words for pair in pairs}
    signed = [any(content in signatures for _, content in row) for row in islice(text(0), 5000)]
    assert 0.005 <= sum(signed) / len(signed) <= 0.05
    assert MIXTURE.triggered <= 0.05


def test_each_trigger_gets_its_own_signature() -> None:
    pairs = watermark(0)
    for turn in islice(poison.triggered(random.Random(0), pairs, Split.HELD_OUT), 100):
        assert [pair.words for pair in pairs if pair.trigger.is_in(turn.asked)] == [turn.reply()]


def test_the_card_tells_triggers_and_signatures_side_by_side() -> None:
    told = facts(0)
    assert len(told["triggers"]) == len(told["signatures"])
    for each in WATERMARK.prompts(0)["triggered"]:
        at = next(at for at, trigger in enumerate(told["triggers"]) if trigger in each.question)
        assert each.tells["payload"] == told["signatures"][at]
