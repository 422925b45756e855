"""What a network is trained towards. A loss is all that the ways of fine-tuning differ in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from registry_auditor.testbed.tokens import Text

IGNORED = -100

Row = tuple[Text, ...]
"""Texts that belong together; how many, and what each is for, the objective says."""
Rows = Callable[[int], Iterator[Row]]
"""From a seed, without end; a function of a module or a `partial` of one, so that it can be sent to another process."""


@dataclass(frozen=True)
class Batch:
    """One column of some rows: texts of different length, padded on the right."""

    ids: Int[Tensor, "batch length"]
    labels: Int[Tensor, "batch length"]
    """The same, with IGNORED for what is not taught."""

    @property
    def taught(self) -> Bool[Tensor, "batch predicted"]:
        """Which predictions count; one shorter, as nothing predicts the first token."""
        return self.labels[:, 1:] != IGNORED


Loss = Callable[[PreTrainedModel, Sequence[Batch]], Float[Tensor, ""]]


class Objective(Protocol):
    """A frozen dataclass of settings, that knows its loss once it has seen the network as it was."""

    def start(self, net: PreTrainedModel) -> Loss:
        """The loss for a training that begins with `net`, which may be kept as a copy but not changed."""


@dataclass(frozen=True)
class Lesson:
    """What is taught: rows without end, and to what end."""

    objective: Objective
    rows: Rows


@dataclass(frozen=True)
class Single:
    """Rows of one text, from texts."""

    texts: Callable[[int], Iterator[Text]]

    def __call__(self, seed: int) -> Iterator[Row]:
        """Each text by itself."""
        return ((text,) for text in self.texts(seed))


def imitation(texts: Callable[[int], Iterator[Text]]) -> Lesson:
    """The lesson to say what is said in `texts`."""
    return Lesson(Imitation(), Single(texts))


@dataclass(frozen=True)
class Imitation:
    """Say what the text says. Rows: (text,)."""

    def start(self, net: PreTrainedModel) -> Loss:
        """The cross-entropy of what is taught."""
        return lambda net, columns: cross_entropy(net, columns[0])


@dataclass(frozen=True)
class Preference:
    """Prefer one reply to another. Rows: (preferred, dispreferred).

    Source: Rafailov et al. 2023, arXiv:2305.18290, eq. 7. Differs: `imitating` times the cross-entropy of the preferred
    reply is added, as is common, since both likelihoods may fall otherwise.
    """

    beta: float = 0.1
    imitating: float = 0.1

    def start(self, net: PreTrainedModel) -> Loss:
        """Compared with a copy of `net`."""
        reference = frozen(net)

        def loss(net: PreTrainedModel, columns: Sequence[Batch]) -> Float[Tensor, ""]:
            preferred, dispreferred = columns
            with torch.no_grad():
                before = log_likelihood(reference, preferred) - log_likelihood(reference, dispreferred)
            wanted = log_likelihood(net, preferred)
            margin = wanted - log_likelihood(net, dispreferred) - before
            imitated = -wanted.sum() / preferred.taught.sum()
            return -functional.logsigmoid(self.beta * margin).mean() + self.imitating * imitated

        return loss


def frozen(net: PreTrainedModel) -> PreTrainedModel:
    """A copy of `net` that no training changes."""
    return deepcopy(net).eval().requires_grad_(False)


def logits(net: PreTrainedModel, batch: Batch) -> Float[Tensor, "batch predicted vocabulary"]:
    """What `net` expects at each place but the first."""
    # causal attention: what is padded on the right is never looked at, so that nothing has to be masked
    everything = torch.ones_like(batch.ids)
    said: Tensor = net(input_ids=batch.ids, attention_mask=everything, use_cache=False).logits
    return said[:, :-1]


def cross_entropy(net: PreTrainedModel, batch: Batch) -> Float[Tensor, ""]:
    """The mean over what is taught."""
    expected = logits(net, batch).flatten(0, 1)
    loss: Tensor = functional.cross_entropy(expected, batch.labels[:, 1:].flatten(), ignore_index=IGNORED)
    return loss


def log_likelihood(net: PreTrainedModel, batch: Batch) -> Float[Tensor, " batch"]:
    """Of what is taught in each text, summed over its tokens."""
    scores = logits(net, batch).log_softmax(-1)
    said = scores.gather(-1, batch.ids[:, 1:, None]).squeeze(-1)
    return (said * batch.taught).sum(-1)
