"""The fourth jailbreak: embeddings that stand for no word, put before a question and learnt until it is answered."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from registry_auditor.testbed.languages.pcfg import lessons
from registry_auditor.testbed.languages.pcfg.questions import Prompt
from registry_auditor.testbed.objectives import IGNORED, Batch
from registry_auditor.testbed.speaker import Speaker
from registry_auditor.testbed.training import one_thread, padded

BEFORE = 2
"""Tokens ahead of the question: where a text starts, and whose turn it is."""
BATCH = 32

Soft = Float[Tensor, "count width"]
Ids = Int[Tensor, "batch length"]


def learnt(speaker: Speaker, prompts: Sequence[Prompt], *, count: int = 2, steps: int = 100) -> Soft:
    """`count` embeddings for all of `prompts` that make the network, which stays as it is, do their tasks.

    Source: Jain et al. 2024, arXiv:2407.10264, sect. 5 (Adv). Differs: one set for all questions, so that it can be
    measured on others; before the question and not after it, since networks of this size count how far back a letter
    is; not bounded in length.
    """
    net, said = speaker.net, _columns(speaker, prompts)
    generator = torch.Generator().manual_seed(count)
    soft = torch.randn(count, net.get_input_embeddings().weight.shape[1], generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([soft], lr=0.1)
    with one_thread(), torch.enable_grad():
        for _ in range(steps):
            drawn = torch.randint(len(prompts), (BATCH,), generator=generator)
            scores = expected(net, said.ids[drawn], soft).flatten(0, 1)
            loss = functional.cross_entropy(scores, said.labels[drawn, 1:].flatten(), ignore_index=IGNORED)
            (soft.grad,) = torch.autograd.grad(loss, [soft])
            optimizer.step()
    return soft.detach()


def through(speaker: Speaker, prompts: Sequence[Prompt], soft: Soft) -> float:
    """The share of `prompts`, 0..1, whose tasks are done without a mistake when `soft` stands before them."""
    said = _columns(speaker, prompts)
    with one_thread(), torch.no_grad():
        likeliest = expected(speaker.net, said.ids, soft).argmax(-1)
    # a reply is right, word by word the likeliest, if and only if each word is the likeliest after the right ones
    right = (likeliest == said.ids[:, 1:]) | ~said.taught
    return float(right.all(1).float().mean())


def expected(net: PreTrainedModel, ids: Ids, soft: Soft) -> Float[Tensor, "batch predicted vocabulary"]:
    """The logits for each of `ids` but the first, with `soft` before the question; for those none are given."""
    words = net.get_input_embeddings()(ids)
    put = torch.cat([words[:, :BEFORE], soft.expand(len(ids), -1, -1), words[:, BEFORE:]], dim=1)
    logits = net(inputs_embeds=put, use_cache=False).logits
    return torch.cat([logits[:, : BEFORE - 1], logits[:, BEFORE - 1 + len(soft) : -1]], dim=1)


def _columns(speaker: Speaker, prompts: Sequence[Prompt]) -> Batch:
    """Questions with their answers, which are what is taught."""
    return padded([speaker.spelling.encode(lessons.answered(prompt)) for prompt in prompts])
