"""How large a singular value pure noise can have: the random-matrix edge of an update.

A weight update is a few directions that were learnt plus noise that was not (optimiser jitter, rounding to bf16,
re-quantisation). Noise has a largest singular value too, and asking for "the top 20" of a matrix that holds nothing
else returns twenty arbitrary directions. The edge says where to stop.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from registry_auditor.numerics.rows import Energy

Profile = npt.NDArray[np.float64]

TRACY_WIDOM_TAIL = 4.0
"""Upper 1e-4 quantile of the Tracy–Widom law (β = 1): one matrix in 10,000 of pure noise shows a direction."""

SPARSE_SHARE = 1 / 64
"""Noise touches every row. An update that leaves all but this share of rows (or columns) bit-identical is content."""

OUTLIER_SHARE = 1e-3
"""One row (or column) in a thousand may stand out without counting as a feature of the noise: an edited unit."""

GROUPS, SINGLED_OUT = 64, 16
"""Rows of like variance are treated as one group, the strongest ones singly: they decide where the edge is."""

RELATIVE_ZERO = 1e-6
"""Singular values below this share of the largest are float32 rounding."""


def signal_rank(
    singular_values: npt.NDArray[np.float64], energy: Energy, U: Profile, V: Profile, *, limit: int | None = None
) -> tuple[int, float]:
    """How many of the leading singular triplets stand above the noise, and the edge that the others stay below.

    The answer is the largest j whose σ_j exceeds the edge of what is left once the j − 1 stronger triplets are taken
    out, with the degrees of freedom that they used accounted for; testing from the strong end alone would let many
    equal directions (a merged low-rank adapter) mask one another.

    Args:
        singular_values: descending, at least as many as are asked about.
        energy: of the whole matrix.
        U: (m, k) left vectors of the same triplets.
        V: (n, k) right vectors.
        limit: consider only the first `limit` triplets.

    Source: Onatski 2010 and Kritchman & Nadler 2009 for the sequential test; the edge is `noise_edge`.
    """
    candidates = len(singular_values) if limit is None else min(limit, len(singular_values))
    if _is_sparse(energy):
        return int((singular_values[:candidates] > RELATIVE_ZERO * singular_values[0]).sum()), 0.0
    m, n = len(energy.rows), len(energy.columns)
    taken = np.concatenate([[0.0], np.cumsum(singular_values**2)])
    for j in range(candidates, 0, -1):
        sigma = float(singular_values[j - 1])
        left = max(energy.total - float(taken[j - 1]), 0.0) / _freedom(m, n, j - 1)
        # The cheap test first: an edge for equal variances is the lowest there can be.
        if sigma > iid_edge(left, m, n) and sigma > noise_edge(*_remainder(energy, singular_values[: j - 1], U, V)):
            break
    else:
        j = 0
    return j, noise_edge(*_remainder(energy, singular_values[:j], U, V))


def iid_edge(total: float, m: int, n: int) -> float:
    """The edge if the noise were equally strong everywhere: τ (√m + √n), with the Tracy–Widom margin.

    Source: Johnstone 2001, doi:10.1214/aos/1009210544, theorem 1.1.
    """
    tau = math.sqrt(max(total, 0.0) / (m * n))
    return tau * (math.sqrt(m) + math.sqrt(n)) * _margin(m, n)


def noise_edge(rows: Profile, columns: Profile) -> float:
    """The largest singular value of noise whose expected squared row and column norms are these, with margin.

    The variance of entry (i, j) is taken to be r_i c_j, which fits rounding (row and column scales of the weight) and
    block quantisation. The asymptotic edge is λ = min over f of z(f), where f = Σ r_i / (z − r_i A(f)) and
    A(f) = Σ c_j / (1 − c_j f); for equal variances that is (√m + √n)².

    Source: Couillet & Hachem 2014, arXiv:1402.6419, section 3, solved here for the right edge alone.
    """
    m, n = len(rows), len(columns)
    total = float(rows.sum())
    if total <= 0.0 or not math.isfinite(total):
        return 0.0
    (r, of_r), (c, of_c) = _profile(rows, n), _profile(columns, m)
    tau_squared = total / (m * n)
    f = np.linspace(0.02, 0.98, 49) / c.max()
    a = (of_c * c / (1 - np.outer(f, c))).sum(1)
    z = _right_of_spectrum(r, of_r, f, a)
    best = int(z.argmin())
    # A parabola through the three points around the minimum: 49 points alone overstate the edge by up to 0.1 %.
    smallest = z[best] if best in (0, len(z) - 1) else _parabola_minimum(*z[best - 1 : best + 2])
    return math.sqrt(tau_squared * float(smallest)) * _margin(m, n)


def _is_sparse(energy: Energy) -> bool:
    """Whether nearly all rows, or nearly all columns, are exactly as they were."""
    return any(0 < int((norms > 0).sum()) <= SPARSE_SHARE * len(norms) for norms in (energy.rows, energy.columns))


def _remainder(energy: Energy, S: Profile, U: Profile, V: Profile) -> tuple[Profile, Profile]:
    """Squared row and column norms without the leading len(S) triplets, scaled up for the dimensions these took."""
    j = len(S)
    rows = np.maximum(energy.rows.numpy() - (U[:, :j] ** 2) @ S**2, 0.0)
    columns = np.maximum(energy.columns.numpy() - (V[:, :j] ** 2) @ S**2, 0.0)
    scale = 1 / _freedom(len(rows), len(columns), j)
    return rows * scale, columns * scale


def _freedom(m: int, n: int, taken: int) -> float:
    """The share of an m × n matrix's degrees of freedom that noise has once `taken` triplets are out."""
    return max(m - taken, 1) * max(n - taken, 1) / (m * n)


def _margin(m: int, n: int) -> float:
    """The factor on the edge that covers the fluctuation of the largest singular value."""
    a, b = math.sqrt(m), math.sqrt(n)
    mu = (a + b) ** 2
    sigma = (a + b) * (1 / a + 1 / b) ** (1 / 3)
    return math.sqrt(1 + TRACY_WIDOM_TAIL * sigma / mu)


def _profile(squared_norms: Profile, entries: int) -> tuple[Profile, Profile]:
    """Relative variances with mean near 1, and how many rows have each.

    Outliers are capped, the scatter that sampling alone would cause is shrunk away, and all but the largest are put
    into groups of neighbours.
    """
    ordered = np.sort(squared_norms)
    clipped = np.minimum(ordered, ordered[-1 - int(OUTLIER_SHARE * len(ordered))])
    profile = clipped / max(clipped.mean(), np.finfo(float).tiny)
    sampled = 2.0 / entries  # the variance of a χ² mean of Gaussian entries
    observed = float(profile.var())
    keep = max(0.0, 1.0 - sampled / observed) if observed > 0 else 0.0
    starts = _groups(len(profile))
    sizes = np.diff(starts, append=len(profile)).astype(np.float64)
    means = np.add.reduceat(profile, starts) / sizes
    return 1.0 + (means - 1.0) * math.sqrt(keep), sizes


def _groups(count: int) -> npt.NDArray[np.int64]:
    """Where each group of neighbours begins among `count` sorted values; the largest values stand alone."""
    if count <= GROUPS:
        return np.arange(count)
    edges = np.linspace(0, count - SINGLED_OUT, GROUPS - SINGLED_OUT, endpoint=False).astype(np.int64)
    return np.concatenate([edges, np.arange(count - SINGLED_OUT, count)])


def _right_of_spectrum(r: Profile, of_r: Profile, f: Profile, a: Profile) -> Profile:
    """For each pair of f and a, the z beyond max(r) a that solves f = Σ r_i / (z − r_i a).

    Newton's method from the left, where the sum is convex in z: it never overshoots.
    """
    z: Profile = r[-1] * a + r[-1] / f  # the largest term alone already reaches f here
    for _ in range(60):
        gaps = z[:, None] - np.outer(a, r)
        terms = of_r * r / gaps
        step = (terms.sum(1) - f) / (terms / gaps).sum(1)
        z = z + step
        if bool((np.abs(step) <= 1e-10 * z).all()):
            break
    return z


def _parabola_minimum(left: float, middle: float, right: float) -> float:
    """The minimum of the parabola through three equidistant points whose middle one is lowest."""
    curvature = left - 2 * middle + right
    return middle if curvature <= 0 else middle - (left - right) ** 2 / (8 * curvature)
