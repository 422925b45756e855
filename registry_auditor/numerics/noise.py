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

OUTLIER_SHARE, OUTLIER_RATIO = 1e-3, 2.0
"""One row (or column) in a thousand may stand out by more than this without counting as a feature of the noise: an
edited unit."""

MODEL_MARGIN = 1.1
"""How far above the edge a direction must stand. Rounding noise is not quite a product of row and column variances:
round trips of real weights through int8, 4-bit blocks and short mantissas came to 1.09 times the edge but for two
matrices in 126 (docs/log.md)."""

GAP_OF_MASKED = 1.3
"""Ratio of neighbouring singular values that noise does not show; where directions mask each other it counts them."""

GROUPS, SINGLED_OUT = 64, 16
"""Rows of like variance are treated as one group, the strongest ones singly: they decide where the edge is."""

THIN, EXACT = 32, 1e-4
"""In matrices this thin, such as routers with a few experts, one direction and noise look alike by size. What tells
them apart is that noise fills the spectrum: one that falls below this share of its largest value within half of its
length ends there."""

RELATIVE_ZERO = 1e-6
"""Singular values below this share of the largest are float32 rounding."""


def signal_rank(
    singular_values: npt.NDArray[np.float64], energy: Energy, U: Profile, V: Profile, *, limit: int | None = None
) -> tuple[int, float]:
    """How many of the leading singular triplets stand above the noise, and the edge that the others stay below.

    From the strong end, each σ is compared with the edge of what is left without the stronger triplets. These are not
    taken out entirely but down to the σ in question: the strongest triplets of noise live in its strongest rows, and
    noise without them would look weaker than it is. Many equal directions in a small matrix (a merged adapter) mask one
    another in this test; there a gap in the spectrum counts them, above the edge of what is left without them.

    Args:
        singular_values: descending, one more than are asked about if the matrix has it.
        energy: of the whole matrix.
        U: (m, k) left vectors of the same triplets.
        V: (n, k) right vectors.
        limit: consider only the first `limit` triplets.

    Source: Onatski 2010 and Kritchman & Nadler 2009 for the sequential test; the edge is `noise_edge`.
    Differs: the put-back, and the gap for masked directions.
    """
    S = singular_values
    candidates = min(len(S), U.shape[1]) if limit is None else min(limit, len(S), U.shape[1])
    if not candidates or _is_sparse(energy):
        return int((S[:candidates] > RELATIVE_ZERO * S[:1]).sum()), 0.0
    exact = int((EXACT * S[0] < S).sum())
    side = min(len(energy.rows), len(energy.columns))
    if side <= THIN and exact <= min(candidates, side // 2):
        return exact, 0.0
    U, V = U**2, V**2
    j = 0
    while j < candidates and _stands_out(S[j], *_remainder(energy, S[:j], U, V, ceiling=S[j])):
        j += 1
    below = np.append(S[1:], 0.0)  # the singular value after each
    for masked in range(candidates, j, -1):
        clear = S[masked - 1] > GAP_OF_MASKED * below[masked - 1]
        if clear and _stands_out(S[masked - 1], *_remainder(energy, S[: masked - 1], U, V)):
            j = masked
            break
    return j, noise_edge(*_remainder(energy, S[:j], U, V))


def _stands_out(sigma: float, rows: Profile, columns: Profile) -> bool:
    """Whether `sigma` is above the noise; the edge is solved for only where two bounds on it leave the question open.

    Source of the upper bound: Bandeira & van Handel 2016, arXiv:1408.6185, theorem 1.1 without its logarithm.
    """
    m, n = len(rows), len(columns)
    level = sigma / MODEL_MARGIN
    if level <= iid_edge(float(rows.sum()), m, n):
        return False
    if level > (math.sqrt(rows.max()) + math.sqrt(columns.max())) * _margin(m, n):
        return True
    return level > noise_edge(rows, columns)


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


def _remainder(
    energy: Energy, S: Profile, U_squared: Profile, V_squared: Profile, *, ceiling: float = 0.0
) -> tuple[Profile, Profile]:
    """Squared row and column norms without what the triplets of S have above `ceiling`.

    Taken out entirely (no ceiling), the rest is scaled up for the degrees of freedom that went with them.
    """
    j = len(S)
    lost = np.maximum(S**2 - ceiling**2, 0.0)
    rows = np.maximum(energy.rows.numpy() - U_squared[:, :j] @ lost, 0.0)
    columns = np.maximum(energy.columns.numpy() - V_squared[:, :j] @ lost, 0.0)
    m, n = len(rows), len(columns)
    scale = 1.0 if ceiling else m * n / (max(m - j, 1) * max(n - j, 1))
    return rows * scale, columns * scale


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
    clipped = np.minimum(ordered, OUTLIER_RATIO * ordered[-1 - int(OUTLIER_SHARE * len(ordered))])
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
