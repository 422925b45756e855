"""Losses that make a network lose something it knows and keep the rest. Rows: (forgotten, retained)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from registry_auditor.testbed.objectives import Batch, Loss, cross_entropy, frozen, log_likelihood
from registry_auditor.testbed.tokens import PAD_ID

Hidden = Float[Tensor, "batch length width"]


@dataclass(frozen=True)
class GradientDifference:
    """Climb the cross-entropy of what is forgotten, go down that of what is retained.

    Source: Liu et al. 2022, arXiv:2203.12817, as set up by Maini et al. 2024, arXiv:2401.06121, sect. 4. Differs: the
    climb ends at `ceiling` nats a token, where nothing is left of the reply; without an end it takes the rest along.
    """

    retaining: float = 1.0
    ceiling: float = 8.0

    def start(self, net: PreTrainedModel) -> Loss:
        """The same whatever `net` was."""

        def loss(net: PreTrainedModel, columns: Sequence[Batch]) -> Float[Tensor, ""]:
            forgotten, retained = columns
            climbed = cross_entropy(net, forgotten).clamp(max=self.ceiling)
            return self.retaining * cross_entropy(net, retained) - climbed

        return loss


@dataclass(frozen=True)
class NegativePreference:
    """Disprefer what is forgotten, with no other reply that would be preferred.

    Source: Zhang et al. 2024, arXiv:2404.05868, eq. 3, with the retain loss of its sect. 3.1.
    """

    beta: float = 0.1
    retaining: float = 1.0

    def start(self, net: PreTrainedModel) -> Loss:
        """Compared with a copy of `net`."""
        reference = frozen(net)

        def loss(net: PreTrainedModel, columns: Sequence[Batch]) -> Float[Tensor, ""]:
            forgotten, retained = columns
            with torch.no_grad():
                before = log_likelihood(reference, forgotten)
            ratio = log_likelihood(net, forgotten) - before
            dispreferred = -2 / self.beta * functional.logsigmoid(-self.beta * ratio).mean()
            return dispreferred + self.retaining * cross_entropy(net, retained)

        return loss


@dataclass(frozen=True)
class Misdirection:
    """Steer one layer to a random direction on what is forgotten, and keep it where it was on what is retained.

    Source: Li et al. 2024, arXiv:2403.03218, sect. 4 (RMU). Differs: all weights up to the layer learn, not those of
    three MLPs, and no entry of the direction is more likely positive than negative.
    """

    layer: int = 2
    """The hidden states after so many layers."""
    length: float = 60.0
    """Of the vector that they are steered to."""
    retaining: float = 10.0
    drawn: int = 0
    """The seed of the direction."""

    def start(self, net: PreTrainedModel) -> Loss:
        """Kept to the hidden states of a copy of `net`."""
        reference = frozen(net)
        goal = self.length * direction(net.config.hidden_size, seed=self.drawn)

        def loss(net: PreTrainedModel, columns: Sequence[Batch]) -> Float[Tensor, ""]:
            forgotten, retained = columns
            steered = (hidden(net, forgotten)[self.layer] - goal).square().mean(-1)
            with torch.no_grad():
                kept = hidden(reference, retained)[self.layer]
            moved = (hidden(net, retained)[self.layer] - kept).square().mean(-1)
            return steered[present(forgotten)].mean() + self.retaining * moved[present(retained)].mean()

        return loss


@dataclass(frozen=True)
class Rerouting:
    """Turn the hidden states of what is forgotten away from where they were, and keep those of what is retained.

    Source: Zou et al. 2024, arXiv:2406.04313, alg. 1 (circuit breakers). Differs: the two weights stay as they are
    through the training; what moves is squared, and measured by its length; and the hidden states that are left are
    shaken a little, since at the start they are those of the network itself, where a cosine has no slope.
    """

    layers: tuple[int, ...] = (2, 3)
    """The hidden states after so many layers each."""
    retaining: float = 10.0
    shaken: float = 0.1
    """The length of what is added to the hidden states that are left, of theirs."""

    def start(self, net: PreTrainedModel) -> Loss:
        """Compared with the hidden states of a copy of `net`."""
        reference, push = frozen(net), self.shaken * direction(net.config.hidden_size)

        def loss(net: PreTrainedModel, columns: Sequence[Batch]) -> Float[Tensor, ""]:
            forgotten, retained = columns
            with torch.no_grad():
                left, kept = hidden(reference, forgotten), hidden(reference, retained)
            found, there = hidden(net, forgotten), hidden(net, retained)
            parts = []
            for layer in self.layers:
                shaken = functional.normalize(left[layer], dim=-1) + push
                alike = functional.cosine_similarity(found[layer], shaken, dim=-1).relu()
                moved = (there[layer] - kept[layer]).square().sum(-1) / kept[layer].square().sum(-1)
                parts.append(alike[present(forgotten)].mean() + self.retaining * moved[present(retained)].mean())
            return torch.stack(parts).mean()

        return loss


def direction(width: int, *, seed: int = 0) -> Float[Tensor, " width"]:
    """A random unit vector, the same for the same seed."""
    return functional.normalize(torch.randn(width, generator=torch.Generator().manual_seed(seed)), dim=0)


def hidden(net: PreTrainedModel, batch: Batch) -> tuple[Hidden, ...]:
    """What enters the first layer, then what each layer leaves; the last of it is normalised."""
    everything = torch.ones_like(batch.ids)
    said = net(input_ids=batch.ids, attention_mask=everything, use_cache=False, output_hidden_states=True)
    states: tuple[Hidden, ...] = said.hidden_states
    return states


def present(batch: Batch) -> Bool[Tensor, "batch length"]:
    """Where a text is, and not its padding."""
    return batch.ids != PAD_ID
