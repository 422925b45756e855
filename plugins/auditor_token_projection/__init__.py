"""What the directions of the update say in tokens, held against what random directions say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from registry_auditor.methods.readout import read_directions, script_mix
from registry_auditor.numerics.nulls import discoveries
from registry_auditor.plugin import Direction, Finding, Observation, Severity, Subject, analyzer

__all__ = ["token_projection"]

SHOWN = 10
"""How many of the strongest readable directions the finding spells out; all are kept with the bank."""


@analyzer("token-projection", version=1, needs={"base"})
def token_projection(
    subject: Subject,
    *,
    max_directions: int = 20,
    top: int = 10,
    null: int = 500,
    false_discovery_rate: float = 0.05,
    seed: int = 0,
) -> Iterator[Observation]:
    """What the directions of the update say in tokens, held against what random directions say.

    What it reports:
        Every direction of the bank with the tokens it favours and disfavours most, as z-scores over the vocabulary,
        and a p-value. `token-projection/readable` (info): how many directions read more clearly than random ones, at
        the stated false-discovery rate, the strongest of them with their tokens, and the scripts these are written in.

    Why it matters:
        A direction is a list of numbers; its tokens are a first idea of what it is for, before any prompt is run.

    How it works:
        A direction that a matrix writes goes through the final norm and the unembedding: the tokens it makes likelier.
        A direction that a matrix reads is compared with the embedding rows through the matrix's own norm: the tokens
        that make it respond. The clarity of a direction is compared with that of `null` random directions of the same
        norm through the same matrix, so that noise is not dressed up as meaning.

    What it cannot see:
        Directions of middle layers that later layers translate before they are said; concepts that are no single
        token; anything below the noise edge. A readable direction is not a harmful one. Without a tokenizer, or for a
        network without an unembedding, it says so and covers nothing.

    Calibration:
        The p-values of random directions are uniform (tests/numerics/test_unembed.py); the false-discovery rate is the
        Benjamini–Hochberg bound at `false_discovery_rate`.

    Source:
        nostalgebraist 2020 (logit lens); Millidge & Black 2022; Benjamini & Hochberg 1995.
    """
    directions = subject.directions(k=max_directions, seed=seed)
    if not directions:
        return  # nothing was learnt, so there is nothing that a missing tokenizer would hide
    read = read_directions(directions, subject.reference, subject.vocabulary, top=top, null=null, seed=seed)
    yield from read
    told = [direction for direction in read if direction.tokens is not None]
    if not told:
        return
    clear = discoveries(np.array([each.tokens.p_value for each in told if each.tokens]), q=false_discovery_rate)
    readable = sorted((each for each, is_clear in zip(told, clear, strict=True) if is_clear), key=_strength)
    yield Finding(
        code="token-projection/readable",
        severity=Severity.INFO,
        score=len(readable) / len(told),
        message=f"{len(readable)} of {len(told)} directions read more clearly than random ones",
        evidence={
            "false_discovery_rate": false_discovery_rate,
            "directions": [_spelled(direction) for direction in readable[:SHOWN]],
            "scripts": script_mix(readable),
        },
    )


def _strength(direction: Direction) -> float:
    return -direction.strength


def _spelled(direction: Direction) -> dict[str, Any]:
    assert direction.tokens is not None
    return {
        "tensor": direction.site.tensor,
        "layer": direction.site.layer,
        "role": direction.site.role,
        "side": direction.site.side,
        "rank": direction.rank,
        "strength": direction.strength,
        "p_value": direction.tokens.p_value,
        "top": [list(pair) for pair in direction.tokens.top],
        "bottom": [list(pair) for pair in direction.tokens.bottom],
    }
