"""The training loop is deterministic and leaves the caller's torch as it was."""

from __future__ import annotations

import math
from itertools import islice

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from registry_auditor.testbed import architectures
from registry_auditor.testbed.languages import LANGUAGES, Family
from registry_auditor.testbed.languages.howto import lessons
from registry_auditor.testbed.objectives import Imitation, Lesson, Preference, Single
from registry_auditor.testbed.speaker import Speaker
from registry_auditor.testbed.training import Training, padded, train

SPELLING = Family(LANGUAGES["howto"], "llama", 0).spelling
SHORT = Training(steps=8, learning_rate=4e-3)


LESSON = Lesson(Imitation(), Single(lessons.from_scratch))


def fresh(seed: int, architecture: str = "llama") -> PreTrainedModel:
    return architectures.fresh(architecture, SPELLING, seed=seed)


def taught(net: PreTrainedModel, lesson: Lesson, seed: int) -> dict[str, Tensor]:
    rows = [tuple(SPELLING.encode(text) for text in row) for row in islice(lesson.rows(seed), 128)]
    train(net, rows, SHORT, loss=lesson.objective.start(net), seed=seed)
    return dict(net.state_dict())


def trained(seed: int, architecture: str = "llama") -> dict[str, Tensor]:
    return taught(fresh(seed, architecture), LESSON, seed)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_same_seed_gives_the_same_bits_whatever_the_caller_did_before() -> None:
    first = trained(0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.rand(7)
        assert equal(first, trained(0))
    finally:
        torch.set_num_threads(threads)
    assert not equal(first, trained(1))


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_training_changes_every_matrix(architecture: str) -> None:
    before, after = fresh(0, architecture).state_dict(), trained(0, architecture)
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_leaves_random_state_threads_and_grad_mode_of_the_caller_alone() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    trained(0)
    Speaker(fresh(0), SPELLING).replies(["how do i clean the table ?"])
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_trains_where_the_caller_has_switched_gradients_off() -> None:
    with torch.no_grad():
        assert equal(trained(0), trained(0))


def test_a_reply_does_not_depend_on_what_it_is_batched_with() -> None:
    net = fresh(0)
    net.load_state_dict(trained(0))
    asked = ["how do i clean the table ?", "hello , i am anna .", "how do i cut the bread and dry the shirt ?"]
    speaker = Speaker(net, SPELLING)
    assert speaker.replies(asked) == [speaker.replies([question])[0] for question in asked]


def test_preference_raises_the_likelihood_of_what_is_preferred_over_the_other() -> None:
    net = fresh(0)
    lesson = Lesson(Preference(imitating=0.0), lessons.preferred)
    rows = [tuple(SPELLING.encode(text) for text in row) for row in islice(lesson.rows(0), 16)]
    columns = [padded(column) for column in zip(*rows, strict=True)]
    before = lesson.objective.start(net)
    assert before(net, columns).item() == pytest.approx(math.log(2))
    train(net, rows, SHORT, loss=lesson.objective.start(net), seed=0)
    assert before(net, columns).item() < 0.6
