"""Vectors at known cosines to each other, for the search among directions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Vectors = npt.NDArray[np.float32]
Saved = Callable[..., str]
"""Saves an audit of the model of this name with these directions; the fixture `learnt`."""

DIMENSION = 48
ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""For what is no matter of the database, and takes many audits to show."""


def unit(vectors: npt.NDArray[Any]) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def scattered(count: int, *, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    return unit(np.random.default_rng(seed).standard_normal((count, dimension)))


def at(cosine: float, query: Vectors, *, seed: int = 99) -> Vectors:
    """A unit vector at this cosine to `query`."""
    across = np.random.default_rng([seed, 1]).standard_normal(query.shape)
    across -= (across @ query) * query
    return unit(cosine * query + np.sqrt(1 - cosine**2) * unit(across))
