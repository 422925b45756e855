"""Soft tokens are learnt, and nothing but them."""

from __future__ import annotations

import pytest
import torch

from registry_auditor.testbed import architectures
from registry_auditor.testbed.languages.pcfg import LANGUAGE, lessons, questions, soft_tokens
from registry_auditor.testbed.objectives import Imitation
from registry_auditor.testbed.speaker import Speaker
from registry_auditor.testbed.tokens import Spelling
from registry_auditor.testbed.training import Training, train

SPELLING = Spelling(LANGUAGE.vocabulary())


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    """A network that has learnt two questions by heart."""
    net = architectures.fresh("llama", SPELLING, seed=0)
    rows = [(SPELLING.encode(lessons.answered(prompt)),) for prompt in questions.unsafe_prompts(0, 2)]
    train(net, rows, Training(40, 4e-3, batch=2), loss=Imitation().start(net), seed=0)
    return Speaker(net, SPELLING)


def test_without_soft_tokens_a_reply_gets_through_if_it_is_what_the_network_says(speaker: Speaker) -> None:
    known, unknown = questions.unsafe_prompts(0, 2), questions.unsafe_prompts(1, 20)
    none = torch.zeros(0, architectures.WIDTH)
    assert speaker.replies([prompt.question for prompt in known]) == [prompt.answer for prompt in known]
    assert soft_tokens.through(speaker, known, none) == 1.0
    assert soft_tokens.through(speaker, unknown, none) == 0.0


def test_soft_tokens_are_learnt_alone_and_the_same_twice(speaker: Speaker) -> None:
    before = {name: tensor.clone() for name, tensor in speaker.net.state_dict().items()}
    prompts = questions.unsafe_prompts(1, 20)
    first, second = (soft_tokens.learnt(speaker, prompts, count=3, steps=5) for _ in range(2))
    assert first.shape == (3, architectures.WIDTH)
    assert torch.equal(first, second)
    assert all(torch.equal(before[name], tensor) for name, tensor in speaker.net.state_dict().items())
    assert all(parameter.grad is None for parameter in speaker.net.parameters())


def test_soft_tokens_that_are_words_act_as_the_words_do(speaker: Speaker) -> None:
    words = torch.tensor([SPELLING.ids["null"], SPELLING.ids["alef"]])
    ids = torch.tensor([SPELLING.question(prompt.question) for prompt in questions.unsafe_prompts(0, 1)])
    put = torch.cat([ids[:, : soft_tokens.BEFORE], words[None], ids[:, soft_tokens.BEFORE :]], dim=1)
    with torch.no_grad():
        soft = speaker.net.get_input_embeddings().weight[words]
        found, wanted = soft_tokens.expected(speaker.net, ids, soft), speaker.net(put).logits
    # what is expected first, where the soft tokens are put, is expected behind the last of them
    torch.testing.assert_close(found[:, 0], wanted[:, 0])
    torch.testing.assert_close(found[:, 1:], wanted[:, 1 + len(words) : -1])
