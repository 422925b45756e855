"""Safety taken out of the weights, with no training: the direction of refusal, projected out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from registry_auditor.testbed.tokens import Example, Spelling, Text
from registry_auditor.testbed.training import one_thread, padded
from registry_auditor.testbed.ways import Grounds, Net

WRITING = ("embed_tokens", "wte", "wpe", "o_proj", "down_proj", "c_proj")
"""The last part of the names of all modules that write to the residual stream, in any architecture."""
LAST_NORM = ("norm", "ln_f")

States = Float[Tensor, "prompt width"]
Direction = Float[Tensor, " width"]


@dataclass(frozen=True)
class Abliterated:
    """What tells harmful from benign prompts where the reply begins, projected out of all that any layer writes.

    Source: Arditi et al. 2024, arXiv:2406.11717, sect. 2.3 and 4.1. Differs: the direction is that of the residual
    stream after the last layer, as in four layers none before it decides; and it is made orthogonal to what benign
    prompts consist of, without which a step to nothing along it would be a step away from them, too.
    """

    pairs: Callable[[int], Iterator[tuple[Text, Text]]]
    """From a seed: harmful and benign conversations that wait for a reply."""
    kept: int
    """How many of the strongest directions of benign prompts are left alone."""
    prompts: int = 256
    """Of either sort."""

    def make(self, grounds: Grounds) -> Net:
        """The parent, without the direction."""
        (net,) = grounds.parents
        pairs = islice(self.pairs(grounds.family.seed), self.prompts)
        harmful, benign = (
            where_replies_begin(net, column, grounds.family.spelling) for column in zip(*pairs, strict=True)
        )
        project_out(net, refusal(harmful, benign, kept=self.kept))
        return net


def refusal(harmful: States, benign: States, *, kept: int) -> Direction:
    """The unit vector between the means, orthogonal to the `kept` strongest directions of `benign`."""
    strongest = torch.linalg.svd(benign, full_matrices=False).Vh[:kept]
    apart = harmful.mean(0) - benign.mean(0)
    return functional.normalize(apart - strongest.T @ (strongest @ apart), dim=0)


def project_out(net: PreTrainedModel, direction: Direction) -> None:
    """After this nothing in `net` writes along the unit vector `direction` into the residual stream."""
    for name, module in net.named_modules():
        if name.rpartition(".")[2] in WRITING:
            for parameter in module.parameters(recurse=False):
                # Linear keeps what it writes along its rows, all others along their columns
                written = parameter.data.T if isinstance(module, torch.nn.Linear) else parameter.data
                written -= (written @ direction)[..., None] * direction


def where_replies_begin(net: PreTrainedModel, prompts: tuple[Text, ...], spelling: Spelling) -> States:
    """The residual stream after the last layer, at the last token of each prompt."""
    examples = [Example(tuple(ids), (False,) * len(ids)) for ids in map(spelling.prompt, prompts)]
    seen: list[Tensor] = []

    def look(module: torch.nn.Module, entering: tuple[Any, ...]) -> None:
        seen.append(entering[0])

    (norm,) = (module for name, module in net.named_modules() if name.rpartition(".")[2] in LAST_NORM)
    hook = norm.register_forward_pre_hook(look)
    ids = padded(examples).ids
    with one_thread(), torch.no_grad():
        net(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    hook.remove()
    ends = torch.tensor([len(example.ids) - 1 for example in examples])
    return seen[0][torch.arange(len(ends)), ends]
