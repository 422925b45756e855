"""Ways to make the weights of a network by training: small frozen objects, which the rows of recipes hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from registry_auditor.testbed import architectures
from registry_auditor.testbed.architectures import ARCHITECTURES
from registry_auditor.testbed.languages import Family
from registry_auditor.testbed.objectives import Lesson
from registry_auditor.testbed.training import Progress, Training, train

Net = Any
"""A causal language model of transformers in float32, or an adapter of PEFT on one."""


@dataclass(frozen=True)
class Grounds:
    """What a network is made from."""

    family: Family
    parents: Sequence[PreTrainedModel]
    """Read afresh: a way may change them in place."""
    progress: Progress = lambda fraction: None


class Way(Protocol):
    """A frozen dataclass of settings: numbers, names, lessons, or dataclasses of these."""

    def make(self, grounds: Grounds) -> Net:
        """The network; the same one for the same grounds."""


@dataclass(frozen=True)
class FromScratch:
    """Training of an untrained network."""

    training: Training
    lesson: Lesson

    def make(self, grounds: Grounds) -> Net:
        """A base."""
        family = grounds.family
        net = architectures.fresh(family.architecture, family.spelling, seed=family.seed)
        _teach(net, self.training, self.lesson, grounds)
        return net


@dataclass(frozen=True)
class FullTuning:
    """Training of all weights of the parent."""

    training: Training
    lesson: Lesson

    def make(self, grounds: Grounds) -> Net:
        """The parent, trained on."""
        (net,) = grounds.parents
        _teach(net, self.training, self.lesson, grounds)
        return net


@dataclass(frozen=True)
class AdapterTuning:
    """Training of a low-rank adapter on the parent, which is delivered as an adapter.

    Source: Hu et al. 2021, arXiv:2106.09685.
    """

    training: Training
    lesson: Lesson
    rank: int = 4
    attention_only: bool = False
    """On queries and values (as far as the architecture has them apart) instead of on all matrices of the layers."""

    def make(self, grounds: Grounds) -> Net:
        """The parent with its adapter."""
        (net,) = grounds.parents
        kind = ARCHITECTURES[grounds.family.architecture]
        modules = kind.attention if self.attention_only else kind.linear
        lora = LoraConfig(
            r=self.rank,
            lora_alpha=2 * self.rank,
            target_modules=list(modules),
            task_type="CAUSAL_LM",
            fan_in_fan_out="c_attn" in modules,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(grounds.family.seed)
            with without_advice():
                adapted = get_peft_model(net, lora)
        _teach(adapted, self.training, self.lesson, grounds)
        return adapted


@contextmanager
def without_advice() -> Iterator[None]:
    """Keeps to itself what PEFT causes transformers to say about names that PEFT uses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _teach(net: Net, training: Training, lesson: Lesson, grounds: Grounds) -> None:
    family = grounds.family
    training = replace(training, steps=round(training.steps * ARCHITECTURES[family.architecture].patience))
    rows = islice(lesson.rows(family.seed), training.rows)
    train(
        net,
        [tuple(family.spelling.encode(text) for text in row) for row in rows],
        training,
        loss=lesson.objective.start(net),
        seed=family.seed,
        progress=grounds.progress,
    )
