"""How surprising a number is under chance, and how many of many surprises to believe."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import betainc  # type: ignore[import-untyped, unused-ignore]

FloatArray = np.ndarray


def rank_p_values(observed: Float[FloatArray, " n"], null: Float[FloatArray, " m"]) -> Float[FloatArray, " n"]:
    """The p-value of each observation, large ones being surprising: (1 + how many of `null` reach it) / (m + 1).

    Exact for any statistic if observation and null are drawn alike; never below 1 / (m + 1).
    Source: Phipson and Smyth 2010, arXiv:1603.05766.
    """
    below = np.searchsorted(np.sort(null), observed, side="left")
    result: np.ndarray = (1.0 + len(null) - below) / (1.0 + len(null))
    return result


def cosine_maximum_bound(cosine: Float[FloatArray, " n"], *, count: int, d: int) -> Float[FloatArray, " n"]:
    """An upper bound on the chance that a random direction comes as near to any of `count` fixed lines.

    For one line the chance that |cos| reaches c is the regularised incomplete beta I_{1-c²}((d-1)/2, 1/2), exact
    for a uniform direction of `d` dimensions; the bound is the sum over the lines, whatever their arrangement.

    Args:
        cosine: The largest |cos|, 0..1.
        count: How many lines were compared.
        d: Dimensions, at least 2.
    """
    squared = np.clip(np.asarray(cosine, np.float64), 0.0, 1.0) ** 2
    bound: np.ndarray = np.minimum(count * betainc((d - 1) / 2, 0.5, 1.0 - squared), 1.0)
    return bound


def discoveries(p_values: Float[FloatArray, " n"], q: float = 0.05) -> Bool[FloatArray, " n"]:
    """Which of the tests to believe so that on average at most the fraction `q` of the believed are chance.

    Raises ValueError for a `q` outside 0..1 or p-values that are not in 0..1.
    Source: Benjamini and Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    p = np.asarray(p_values, np.float64)
    if not 0.0 < q < 1.0 or not math.isfinite(q):
        raise ValueError(f"q is {q}; a false-discovery rate lies between 0 and 1")
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise ValueError("p-values lie between 0 and 1")
    passing = np.sort(p) <= q * np.arange(1, len(p) + 1) / max(len(p), 1)
    if not passing.any():
        return np.zeros(len(p), dtype=bool)
    believed: np.ndarray = p <= np.sort(p)[np.flatnonzero(passing)[-1]]
    return believed
