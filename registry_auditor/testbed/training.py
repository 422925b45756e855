"""One plain training loop, deterministic: the same arguments on the same machine give the same bits.

The caller's random state and number of threads are left as they were.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from registry_auditor.testbed.objectives import IGNORED, Batch, Loss
from registry_auditor.testbed.tokens import PAD_ID, Example

BATCHES_A_BUCKET = 16

Progress = Callable[[float], None]
"""Called with how much is done, 0..1."""
Examples = tuple[Example, ...]
"""One row, encoded."""


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

    @property
    def rows(self) -> int:
        """Rows for one pass, so that none is seen twice."""
        return self.steps * self.batch


def train(
    net: PreTrainedModel,
    rows: Sequence[Examples],
    training: Training,
    *,
    loss: Loss,
    seed: int,
    progress: Progress = lambda fraction: None,
) -> None:
    """Lower `loss`, in place, on batches of `rows`, which are gone through as often as the steps need."""
    learnt = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        learnt, training.learning_rate, betas=training.betas, weight_decay=training.weight_decay, fused=True
    )
    net.train()
    with one_thread(), torch.enable_grad():
        for step, batch in zip(range(training.steps), _batches(rows, training.batch, seed), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * _schedule(step, training)
            columns = [padded(column) for column in zip(*batch, strict=True)]
            torch.autograd.backward(loss(net, columns))
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress((step + 1) / training.steps)
    net.eval()


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


def _batches(rows: Sequence[Examples], size: int, seed: int) -> Iterator[list[Examples]]:
    """Shuffled batches without end, of rows of like length so that little of a batch is padding."""
    rng = random.Random(seed)
    lengths = [sum(len(example.ids) for example in row) for row in rows]
    while True:
        order = rng.sample(range(len(rows)), len(rows))
        for start in range(0, len(order), size * BATCHES_A_BUCKET):
            bucket = sorted(order[start : start + size * BATCHES_A_BUCKET], key=lengths.__getitem__)
            batches = [bucket[at : at + size] for at in range(0, len(bucket), size)]
            rng.shuffle(batches)
            yield from ([rows[at] for at in batch] for batch in batches)


def padded(examples: Sequence[Example]) -> Batch:
    """Texts as they are shown to a network together."""
    width = max(len(example.ids) for example in examples)
    ids = [[*example.ids] + [PAD_ID] * (width - len(example.ids)) for example in examples]
    labels = [
        [token if taught else IGNORED for token, taught in zip(example.ids, example.taught, strict=True)]
        + [IGNORED] * (width - len(example.ids))
        for example in examples
    ]
    return Batch(torch.tensor(ids), torch.tensor(labels))
