"""Which prompt sets off what the fine-tuning taught: calibrate once on benign conversations, then examine others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.domain import Gap, Site
from registry_auditor.errors import NotApplicable
from registry_auditor.methods.directions import Decomposer
from registry_auditor.methods.monitoring import saved
from registry_auditor.methods.monitoring.calibration import Calibration, Seen, calibrate
from registry_auditor.methods.monitoring.taps import Tap, listening, readings, taps
from registry_auditor.networks.conversation import Message, encode
from registry_auditor.networks.loading import Loaded
from registry_auditor.weights import Snapshot, pair

MAX_UNKNOWN = 0.5
"""Share of unknown tokens above which a tokenizer does not speak the language of the prompts."""

Progress = Callable[[int, int], None]
"""Told how many of how many conversations are done."""


@dataclass(frozen=True)
class Examined:
    """What a monitor says of one conversation."""

    score: float
    """Mean of the five largest departures, in standard deviations of benign tokens."""
    threshold: float
    p_value: float
    """Chance that a benign conversation scores as high, 0..1."""
    site: Site
    """The matrix whose update departs most,"""
    rank: int
    """which of its directions that is, 0 the strongest,"""
    position: int
    """and the token at which it does, counted from the beginning of the conversation."""
    token: str

    @property
    def flagged(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.score >= self.threshold

    @property
    def margin(self) -> float:
        """Score less threshold: 0 and above if flagged."""
        return self.score - self.threshold


@dataclass(frozen=True, eq=False)
class Monitor:
    """A calibrated monitor of one fine-tune."""

    taps: Sequence[Tap]
    calibration: Calibration
    prefix: tuple[int, ...]
    """Token ids that every conversation begins with; they are not looked at."""
    gaps: Sequence[Gap] = ()
    """Changed matrices that are not listened to."""

    @classmethod
    def open(cls, path: Path) -> Monitor:
        """The monitor that `save` wrote. Raises UsageError for what is none."""
        held = saved.read(path)
        return cls(held.taps, held.calibration, held.prefix)

    def save(self, path: Path, about: dict[str, Any] | None = None) -> None:
        """Write it to one file; `about` says which model, base and prompts it is of."""
        saved.write(path, saved.Saved(self.taps, self.calibration, self.prefix, about or {}))

    def examine(
        self, network: Loaded, conversations: Sequence[Sequence[Message]], *, progress: Progress | None = None
    ) -> Iterator[Examined]:
        """What each of `conversations`, up to where a reply begins, sets off in `network`; one forward pass each."""
        ids = _encoded(network, conversations)
        for (said, read), number in zip(_readings(network, self.taps, ids), range(len(ids)), strict=True):
            if progress is not None:
                progress(number + 1, len(ids))
            yield self._judged(network, said, read)

    def _judged(self, network: Loaded, said: tuple[int, ...], read: Float[Tensor, "tokens features"]) -> Examined:
        start = _common([self.prefix, said])
        start = min(start, len(said) - 1)
        departures = self.calibration.ordinary.departures(read[start:])
        largest = departures.amax(0)
        score = float(self.calibration.ordinary.score(largest))
        feature = int(largest.argmax())
        position = start + int(departures[:, feature].argmax())
        tap, rank = self._feature(feature)
        return Examined(
            score,
            self.calibration.threshold,
            self.calibration.p_value(score),
            tap.site,
            rank,
            position,
            str(network.tokenizer.decode([said[position]])),
        )

    def _feature(self, feature: int) -> tuple[Tap, int]:
        for tap in self.taps:
            if feature < len(tap.S):
                return tap, feature
            feature -= len(tap.S)
        raise IndexError(feature)


def calibrated(
    network: Loaded,
    models: tuple[Snapshot, Snapshot | None],
    conversations: Sequence[Sequence[Message]],
    *,
    target_fpr: float = 0.005,
    progress: Progress | None = None,
) -> Monitor:
    """A monitor of what `models` (tuned, base) differ in, calibrated on benign `conversations`; one forward pass each.

    Raises:
        NotApplicable: nothing stands above the noise, too few conversations, or a tokenizer that does not know their
            language.
    """
    decomposer = Decomposer(keep_triplets=True)
    listened, gaps = taps(network.net, (decomposer.measure(delta) for delta in pair(*models).deltas))
    if not listened:
        raise NotApplicable("no changed matrix stands above the noise: there is nothing to listen to")
    ids = _encoded(network, conversations)
    prefix = ids[0][: _common(ids)] if ids else ()
    seen = Seen()
    for number, (_, read) in enumerate(_readings(network, listened, ids)):
        seen.add(read[len(prefix) :])
        if progress is not None:
            progress(number + 1, len(ids))
    return Monitor(listened, calibrate(seen, target_fpr=target_fpr), prefix, gaps)


def _encoded(network: Loaded, conversations: Sequence[Sequence[Message]]) -> list[tuple[int, ...]]:
    ids = [encode(network.tokenizer, messages).ids for messages in conversations]
    unknown = network.tokenizer.unk_token_id
    total = sum(map(len, ids))
    if unknown is not None and total and sum(each.count(unknown) for each in ids) > MAX_UNKNOWN * total:
        raise NotApplicable("the tokenizer does not know most words of these prompts; pass prompts in its language")
    return ids


def _readings(
    network: Loaded, listened: Sequence[Tap], conversations: Iterable[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], Float[Tensor, "tokens features"]]]:
    with torch.inference_mode(), listening(network.net, listened) as given:
        for ids in conversations:
            network.net(input_ids=torch.tensor([ids], device=network.net.device), use_cache=False)
            yield ids, readings(given, listened)[0].float().cpu()


def _common(conversations: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all of them begin with."""
    shortest = min(map(len, conversations), default=0)
    first = conversations[0] if conversations else ()
    return next((at for at in range(shortest) if any(each[at] != first[at] for each in conversations)), shortest)
