"""What is ordinary for a network: how far its readings go on benign conversations, and how rarely they go further."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from registry_auditor.errors import NotApplicable

FOLDS = 5
"""A conversation is scored by what the other folds saw, as a new one will be by what all of them saw."""
LARGEST = 5
"""Readings whose departures are averaged: one alone is at the mercy of one rare token."""


@dataclass
class Seen:
    """What was read on calibration conversations, in memory that does not grow with their length."""

    count: list[int] = field(default_factory=list)
    total: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)
    highest: list[Tensor] = field(default_factory=list)
    lowest: list[Tensor] = field(default_factory=list)

    def add(self, readings: Float[Tensor, "tokens features"]) -> None:
        """One conversation more; one without tokens that count is left out."""
        if len(readings) == 0:
            return
        wide = readings.double()
        self.count.append(len(readings))
        self.total.append(wide.sum(0))
        self.squares.append((wide * wide).sum(0))
        self.highest.append(readings.amax(0))
        self.lowest.append(readings.amin(0))

    def __len__(self) -> int:
        return len(self.count)


@dataclass(frozen=True, eq=False)
class Ordinary:
    """Mean and spread of every reading over the tokens of benign conversations."""

    mean: Float[Tensor, " features"]
    spread: Float[Tensor, " features"]

    def departures(self, readings: Float[Tensor, "... features"]) -> Float[Tensor, "... features"]:
        """By how many standard deviations each reading departs from its mean, 0 and above."""
        return (readings - self.mean).abs() / self.spread

    def score(self, departures: Float[Tensor, "... features"]) -> Float[Tensor, ...]:
        """The mean of the largest few."""
        return departures.topk(min(LARGEST, departures.shape[-1]), dim=-1).values.mean(dim=-1)


@dataclass(frozen=True, eq=False)
class Calibration:
    """A threshold, and what it is worth."""

    ordinary: Ordinary
    scores: Float[Tensor, " n"]
    """Of the calibration conversations, each by what the others showed, in ascending order."""
    target_fpr: float
    """The rate of benign conversations flagged that was asked for, 0..1."""

    @property
    def threshold(self) -> float:
        """The smallest score whose p-value is at most the target: a conversation at or above it is flagged."""
        allowed = math.floor(self.target_fpr * (len(self.scores) + 1)) - 1
        return math.nextafter(float(self.scores[len(self.scores) - 1 - allowed]), math.inf)

    def p_value(self, score: float) -> float:
        """Chance that a benign conversation scores as high, 0..1: conformal, so exact on average if new conversations
        are like those of the calibration.
        """
        above = len(self.scores) - int(torch.searchsorted(self.scores, score, side="left"))
        return (1 + above) / (len(self.scores) + 1)


def calibrate(seen: Seen, *, target_fpr: float = 0.005) -> Calibration:
    """What `seen` says of the next conversation.

    Raises:
        NotApplicable: there are too few conversations to promise that rate.
    """
    needed = math.ceil(1 / target_fpr) - 1
    if len(seen) < max(needed, 2 * FOLDS):
        raise NotApplicable(
            f"{len(seen)} conversations cannot bound false positives at {target_fpr:.2%}; "
            f"calibrate on {max(needed, 2 * FOLDS)} or more, or ask for a higher rate"
        )
    fold = torch.arange(len(seen)) % FOLDS
    highest, lowest = torch.stack(seen.highest), torch.stack(seen.lowest)
    scores = torch.empty(len(seen), dtype=torch.float64)
    for left_out in range(FOLDS):
        mine = fold == left_out
        scores[mine] = _scores(_ordinary(seen, ~mine), highest[mine], lowest[mine]).double()
    return Calibration(_ordinary(seen, torch.ones_like(fold, dtype=torch.bool)), scores.sort().values, target_fpr)


def _ordinary(seen: Seen, chosen: Bool[Tensor, " n"]) -> Ordinary:
    at = chosen.nonzero().flatten().tolist()
    count = sum(seen.count[i] for i in at)
    mean = torch.stack([seen.total[i] for i in at]).sum(0) / count
    square = torch.stack([seen.squares[i] for i in at]).sum(0) / count
    spread = (square - mean * mean).clamp_min(0).sqrt()
    # a reading that never moved is no measure of anything: its departures then count for nothing
    return Ordinary(mean.float(), torch.where(spread > 0, spread, torch.inf).float())


def _scores(
    ordinary: Ordinary, highest: Float[Tensor, "n features"], lowest: Float[Tensor, "n features"]
) -> Float[Tensor, " n"]:
    """Departures grow with the distance from the mean: those of a conversation lie at its extremes."""
    return ordinary.score(torch.maximum(ordinary.departures(highest), ordinary.departures(lowest)))
