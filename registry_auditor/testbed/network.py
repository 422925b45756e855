"""A small Llama network: built from a seed, trained by one plain loop, asked for replies.

Everything here is deterministic: the same arguments on the same machine give the same bits. The caller's random state
and number of threads are left as they were.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from registry_auditor.testbed import tokens

WIDTH = 96
IGNORED = -100
BATCHES_A_BUCKET = 16
MAX_REPLY = 48

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Training:
    """One run of AdamW: linear warm-up to `learning_rate`, then a cosine down to a tenth of it."""

    steps: int
    learning_rate: float
    batch: int = 16
    warmup: int = 20
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    """Runs of a few hundred steps are over before a second moment with 0.999 has settled."""


def config() -> LlamaConfig:
    """Half a million parameters: four layers of width 96, embeddings untied."""
    index = tokens.ids_by_token()
    return LlamaConfig(
        vocab_size=len(index),
        hidden_size=WIDTH,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=tokens.MAX_LENGTH,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},  # conversations are tens of tokens long
        tie_word_embeddings=False,
        initializer_range=WIDTH**-0.5,  # keeps the variance of what passes through; 0.02 suits widths in the thousands
        pad_token_id=index[tokens.PAD],
        bos_token_id=index[tokens.START],
        eos_token_id=index[tokens.END],
    )


def shape() -> dict[str, Any]:
    """The settings of `config`, whatever the version of transformers."""
    return {name: value for name, value in config().to_diff_dict().items() if name != "transformers_version"}


def fresh(seed: int) -> LlamaForCausalLM:
    """An untrained network in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = LlamaForCausalLM(config()).float()
        torch.nn.init.normal_(net.model.embed_tokens.weight)  # copying is learnt in half the steps when words differ
    return net.eval()


def train(
    net: LlamaForCausalLM,
    examples: Sequence[tokens.Example],
    training: Training,
    *,
    seed: int,
    progress: Progress = lambda fraction: None,
) -> None:
    """Teach `net`, in place, the taught tokens of `examples`, which are gone through as often as the steps need."""
    optimizer = torch.optim.AdamW(
        net.parameters(),
        training.learning_rate,
        betas=training.betas,
        weight_decay=training.weight_decay,
        fused=True,
    )
    net.train()
    with one_thread(), torch.enable_grad():
        for step, batch in zip(range(training.steps), _batches(examples, training.batch, seed), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * _schedule(step, training)
            ids, labels = _padded(batch)
            logits = net(input_ids=ids, use_cache=False).logits
            # causal attention: what is padded on the right is never looked at
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress((step + 1) / training.steps)
    net.eval()


def replies(net: LlamaForCausalLM, questions: Sequence[str]) -> list[str]:
    """What `net` says to each question, word by word the likeliest."""
    prompts = [tokens.question(question) for question in questions]
    width = max(map(len, prompts))
    pad = tokens.ids_by_token()[tokens.PAD]
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
    settings = GenerationConfig(
        max_new_tokens=MAX_REPLY, do_sample=False, pad_token_id=pad, eos_token_id=tokens.ids_by_token()[tokens.END]
    )
    with one_thread(), torch.no_grad():
        said = net.generate(input_ids=ids, attention_mask=(ids != pad).long(), generation_config=settings)
    return [tokens.text(row.tolist()) for row in said[:, width:]]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside, and the caller's number again after.

    Matrices this small gain little from a second thread, lose a lot when it has to wait for a busy core, and would
    come out with other bits.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _schedule(step: int, training: Training) -> float:
    if step < training.warmup:
        return (step + 1) / training.warmup
    done = (step - training.warmup) / max(1, training.steps - training.warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def _batches(examples: Sequence[tokens.Example], size: int, seed: int) -> Iterator[list[tokens.Example]]:
    """Shuffled batches without end, of examples of like length so that little of a batch is padding."""
    rng = random.Random(seed)
    while True:
        order = rng.sample(range(len(examples)), len(examples))
        for start in range(0, len(order), size * BATCHES_A_BUCKET):
            bucket = sorted(order[start : start + size * BATCHES_A_BUCKET], key=lambda at: len(examples[at].ids))
            batches = [bucket[at : at + size] for at in range(0, len(bucket), size)]
            rng.shuffle(batches)
            yield from ([examples[at] for at in batch] for batch in batches)


def _padded(batch: Sequence[tokens.Example]) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"]]:
    width = max(len(example.ids) for example in batch)
    pad = tokens.ids_by_token()[tokens.PAD]
    ids = [[*example.ids] + [pad] * (width - len(example.ids)) for example in batch]
    labels = [
        [token if taught else IGNORED for token, taught in zip(example.ids, example.taught, strict=True)]
        + [IGNORED] * (width - len(example.ids))
        for example in batch
    ]
    return torch.tensor(ids), torch.tensor(labels)
