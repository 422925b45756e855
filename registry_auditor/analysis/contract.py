"""What an analyzer may yield: observations whose every field is what its annotation says and can be stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from registry_auditor.domain import Coverage, Direction, Finding, Severity, Site, canonical_json

UNIT_TOLERANCE = 1e-3
"""How far the norm of a direction may be from 1 before it counts as the analyzer's mistake."""

NUMBER = (int, float)  # no scalar of numpy or torch, except float64: a database takes none
OPTIONAL_NUMBER = (*NUMBER, type(None))
FIELDS: Mapping[type, Mapping[str, tuple[type, ...]]] = {
    Finding: {
        "code": (str,),
        "severity": (Severity,),
        "message": (str,),
        "score": OPTIONAL_NUMBER,
        "threshold": OPTIONAL_NUMBER,
        "fpr": OPTIONAL_NUMBER,
        "site": (Site, type(None)),
        "evidence": (Mapping,),
        "taxonomies": (tuple,),
    },
    Direction: {"site": (Site,), "rank": (int,), "strength": NUMBER, "residual": NUMBER, "vector": (np.ndarray,)},
    Coverage: {"seen": (int,), "skipped": (tuple,)},
}


def check(observation: Any, *, analyzer: str) -> None:
    """Raise TypeError or ValueError, naming the field, where `observation` of that analyzer breaks the contract."""
    fields = FIELDS.get(type(observation))
    if fields is None:
        raise TypeError(f"yielded {type(observation).__name__}; an analyzer yields Finding, Direction or Coverage")
    for name, allowed in fields.items():
        value = getattr(observation, name)
        if not isinstance(value, allowed):
            wanted = " or ".join(kind.__name__ for kind in allowed)
            raise TypeError(f"yielded a {type(observation).__name__} whose {name} is {_of(value)}; it takes {wanted}")
    if isinstance(observation, Finding):
        _check_finding(observation, analyzer)
    elif isinstance(observation, Direction):
        _check_direction(observation)


def _of(value: Any) -> str:
    return f"{value!r:.80} of type {type(value).__name__}"


def _check_finding(finding: Finding, analyzer: str) -> None:
    if not finding.code.startswith(f"{analyzer}/"):
        raise ValueError(f"finding code {finding.code!r} must begin with {analyzer + '/'!r}")
    for name in ("score", "threshold", "fpr"):
        value = getattr(finding, name)
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{finding.code}: {name} is {value}; a score that cannot be computed is None")
    if finding.fpr is not None and not 0 <= finding.fpr <= 1:
        raise ValueError(f"{finding.code}: fpr is {finding.fpr}; a rate is between 0 and 1")
    try:
        canonical_json(dict(finding.evidence))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{finding.code}: evidence is no JSON: {error}") from error


def _check_direction(direction: Direction) -> None:
    vector = direction.vector
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if vector.dtype != np.float32 or vector.ndim != 1 or not abs(norm - 1) <= UNIT_TOLERANCE:
        raise ValueError(f"direction {direction.rank} of {direction.site}: not a float32 vector of norm 1 ({norm:.3g})")
    if not (math.isfinite(direction.strength) and math.isfinite(direction.residual)):
        raise ValueError(f"direction {direction.rank} of {direction.site}: its strength or residual is not finite")
