"""Was a direction taken out of the matrices that write it?

Removing a unit direction r from a writing matrix leaves W − r rᵀ W: the update has r as its first left singular vector,
and nothing is left of W along r. A style that many layers learnt shares a direction too, but adds to it; what tells the
two apart is how much of the base's output along the direction survives.

Source: Arditi et al. 2024, arXiv:2406.11717, equation 5 (directional ablation of weights).
Differs: looks for the mark of it in a finished model, where r is not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from registry_auditor.methods.spectra import SharedDirection, shared_share
from registry_auditor.weights import Delta


def survival(writers: Iterable[Delta], direction: Float[Tensor, " d_out"]) -> float | None:
    """How much of what the base writes along the unit `direction` is left: ‖u'W_tuned‖ / ‖u'W_base‖.

    The median over `writers`; 0 after ablation, near 1 for what was merely learnt along it. None if the base writes
    nothing along it anywhere. Raises NotApplicable for an adapter without its base.
    """
    ratios = [tuned / base for base, tuned in (_along(writer, direction) for writer in writers) if base > 0]
    return median(ratios) if ratios else None


def removed(found: SharedDirection | None, deltas: Iterable[Delta]) -> float:
    """Which share, 0..1, of what the base writes along a shared direction its matrices no longer write.

    0 where no direction is shared by enough matrices, or the base is not at hand.
    """
    if found is None or not shared_share(found):
        return 0.0
    sites = set(found.sites)
    left = survival((each for each in deltas if each.site in sites and each.has_base), found.direction)
    return 0.0 if left is None else max(0.0, 1.0 - left)


def _along(writer: Delta, direction: Tensor) -> tuple[float, float]:
    """‖u'W‖ of base and tuned."""
    if writer.transposed:  # stored rows are columns of W: each gives one entry of u'W
        squares = [0.0, 0.0]
        for blocks in writer.blocks():
            for which, block in enumerate(blocks):
                squares[which] += float((block.float() @ direction).square().sum())
        return math.sqrt(squares[0]), math.sqrt(squares[1])
    sums = torch.zeros(2, writer.shape[1])
    row = 0
    for blocks in writer.blocks():
        for which, block in enumerate(blocks):
            sums[which] += direction[row : row + len(block)] @ block.float()
        row += len(blocks[0])
    base, tuned = torch.linalg.vector_norm(sums, dim=1).tolist()
    return base, tuned
