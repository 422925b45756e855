import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from registry_auditor.domain import Direction, Job, Run, Side, Site, StepKey, SubjectKey
from registry_auditor.errors import NotFound, StoreError, UsageError
from registry_auditor.store import Store

Vectors = npt.NDArray[np.float32]
Saved = Callable[..., str]

DIMENSION = 48


def unit(vectors: npt.NDArray[Any]) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def scattered(count: int, *, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    return unit(np.random.default_rng(seed).standard_normal((count, dimension)))


def at(cosine: float, query: Vectors, *, seed: int = 99) -> Vectors:
    """A unit vector at this cosine to `query`."""
    across = np.random.default_rng(seed).standard_normal(query.shape)
    across -= (across @ query) * query
    return unit(cosine * query + np.sqrt(1 - cosine**2) * unit(across))


@pytest.fixture
def learnt(store: Store, job: Callable[..., Job], run: Callable[..., Run]) -> Saved:
    """A function that saves an audit of a model with these directions; returns the bank's digest."""

    def save(
        name: str, vectors: Vectors, *, base: str | None = "base-digest", into: Store = store, **run_of: Any
    ) -> str:
        directions = tuple(
            Direction(
                Site(f"model.layers.{k}.mlp.down_proj.weight", k, "mlp.down", Side.WRITES),
                0,
                float(len(vectors) - k),
                1e-6,
                vector,
            )
            for k, vector in enumerate(vectors)
        )
        audit = into.submit(job(name))
        made = run(subject=SubjectKey(f"{name}-digest", base), directions=directions)
        into.save(audit.id, replace(made, **run_of))
        return into.runs(audit.id)[-1].banks[0].sha256

    return save


@pytest.fixture(params=[True, False], ids=["exact", "sketched"])
def exact(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_finds_planted_neighbours_nearest_first_with_the_sign_of_their_cosine(
    store: Store, learnt: Saved, exact: bool
) -> None:
    random = scattered(300)
    bank = learnt("org/first", random)
    learnt("org/second", np.stack([*scattered(50, seed=1), at(-0.9, random[7])]))
    learnt("org/third", np.stack([at(0.7, random[7]), *scattered(50, seed=2)]))
    found = store.search.nearest(bank, 7, limit=2, exact=exact)
    assert [hit.cosine for hit in found.hits] == pytest.approx([-0.9, 0.7], abs=1e-6)
    assert [hit.direction.ordinal for hit in found.hits] == [50, 0]
    assert [str(hit.direction.models[0]) for hit in found.hits] == ["hf:org/second@3f2a", "hf:org/third@3f2a"]
    assert (found.searched, found.missing, found.dimension) == (300 + 51 + 51 - 1, 0, DIMENSION)
    assert (found.basis, found.exact) == ("base-digest", exact)


def test_the_loop_over_everything_agrees(store: Store, learnt: Saved) -> None:
    banks = {learnt(f"org/{n}", scattered(40, seed=n)): scattered(40, seed=n) for n in range(4)}
    query = scattered(1, seed=9)[0]
    found = store.search.nearest_to(query, basis="base-digest", limit=7)
    slow = sorted(
        (-abs(float(vector @ query)), bank, k) for bank, vectors in banks.items() for k, vector in enumerate(vectors)
    )
    assert [(hit.direction.bank, hit.direction.ordinal) for hit in found.hits] == [(b, k) for _, b, k in slow[:7]]
