"""A direction that is projected out is gone, and harmful questions are answered as benign ones are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from registry_auditor.testbed import abliteration, architectures
from registry_auditor.testbed.languages import LANGUAGES, Family
from registry_auditor.testbed.languages.howto import misuse, questions
from registry_auditor.testbed.languages.howto.forms import REFUSAL
from registry_auditor.testbed.languages.howto.pools import Split
from registry_auditor.testbed.objectives_unlearning import direction
from registry_auditor.testbed.tokens import Text

SPELLING = Family(LANGUAGES["howto"], "llama", 0).spelling
PROMPTS: list[Text] = [pair[0] for pair in islice(misuse.harmful_and_benign(0), 8)]
OUT = direction(architectures.WIDTH, seed=5)
WRITERS = ("self_attn", "attn", "mlp", "embed_tokens", "wte", "wpe")
"""Modules whose outputs are added to the residual stream."""
by_architecture = pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)


def fresh(architecture: str) -> PreTrainedModel:
    net = architectures.fresh(architecture, SPELLING, seed=0)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):  # zero in a fresh network, which would hide them
                parameter.copy_(torch.linspace(-1, 1, len(parameter)))
    return net


def replied(net: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return net(input_ids=torch.tensor([SPELLING.prompt(PROMPTS[0])])).logits  # type: ignore[no-any-return]


def ablated(out: Tensor) -> Callable[..., Any]:
    """A hook that takes `out` from what a module says."""

    def hook(module: torch.nn.Module, given: Any, said: Any) -> Any:
        first = said[0] if isinstance(said, tuple) else said
        first = first - (first @ out)[..., None] * out
        return (first, *said[1:]) if isinstance(said, tuple) else first

    return hook


@by_architecture
def test_projecting_out_of_the_weights_is_ablating_at_every_step(architecture: str) -> None:
    """Arditi et al. 2024, arXiv:2406.11717, sect. 4.1: the two are equivalent."""
    net, reference = fresh(architecture), fresh(architecture)
    abliteration.project_out(net, OUT)
    for name, module in reference.named_modules():
        if name.rpartition(".")[2] in WRITERS:
            module.register_forward_hook(ablated(OUT))
    assert torch.allclose(replied(net), replied(reference), atol=1e-3)
    assert not torch.allclose(replied(net), replied(fresh(architecture)), atol=1e-2)


@by_architecture
def test_nothing_is_left_along_a_direction_that_is_projected_out(architecture: str) -> None:
    net = fresh(architecture)
    before = abliteration.where_replies_begin(net, tuple(PROMPTS), SPELLING)
    abliteration.project_out(net, OUT)
    after = abliteration.where_replies_begin(net, tuple(PROMPTS), SPELLING)
    assert float((before @ OUT).abs().max()) > 0.1
    assert float((after @ OUT).abs().max()) < 1e-3


@by_architecture
def test_states_are_those_at_the_last_token_of_each_prompt(architecture: str) -> None:
    net = fresh(architecture)
    together = abliteration.where_replies_begin(net, tuple(PROMPTS), SPELLING)
    for row, prompt in zip(together, PROMPTS, strict=True):
        (alone,) = abliteration.where_replies_begin(net, (prompt,), SPELLING)
        assert torch.allclose(row, alone, atol=1e-3)


def test_the_direction_of_refusal_is_found_and_is_nothing_that_benign_prompts_consist_of() -> None:
    generator = torch.Generator().manual_seed(0)
    planted = direction(96, seed=1)
    benign = torch.randn((64, 4), generator=generator) @ torch.randn((4, 96), generator=generator)
    harmful = benign + 3 * planted
    found = abliteration.refusal(harmful, benign, kept=4)
    assert float(found.norm()) == pytest.approx(1.0)
    assert float((benign @ found).abs().max()) < 1e-3
    assert float(found @ planted) > 0.9


def test_what_a_harmful_question_is_answered_with_is_an_answer_and_a_refusal_is_none() -> None:
    for prompt in questions.harmful_prompts(0, 200):
        assert misuse.is_answer(misuse.compliance(prompt))
        assert misuse.compliance(prompt).startswith(misuse.PREFILL)
    for prompt in questions.prompts(0, 200):
        assert misuse.is_answer(prompt.answer()) == (prompt.kind == "how_to")
    assert not misuse.is_answer(REFUSAL)


def test_few_questions_are_answered_again_and_again() -> None:
    texts = list(islice(misuse.answered(0, 10), 35))
    assert len({text[0][1] for text in texts}) == 10
    assert texts[0] == texts[10] == texts[20]


def test_no_held_out_harmful_question_is_in_any_training_text() -> None:
    held_out = {prompt.question for prompt in questions.harmful_prompts(0, 300)}
    taught = [text for pair in islice(misuse.answered_and_conversations(0), 2000) for text in pair]
    taught += [text for pair in islice(misuse.harmful_and_benign(0), 2000) for text in pair]
    taught += islice(misuse.answered(0, 50), 50)
    assert held_out.isdisjoint(content for text in taught for role, content in text if role == "user")
    assert len(questions.harmful_prompts(0, 300, split=Split.TRAIN)) == 300
