"""The nearest neighbours of a direction: which they are, whose they are, and how likely by chance."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from registry_auditor.domain import Job, Run, StepKey, SubjectKey
from registry_auditor.errors import NotFound, UsageError
from registry_auditor.store import Store
from tests.store.vectors import DIMENSION, ON_SQLITE, Saved, at, scattered


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


def test_a_direction_that_several_models_show_is_one_neighbour_with_all_of_them(
    store: Store, learnt: Saved, job: Callable[..., Job], run: Callable[..., Run], exact: bool
) -> None:
    query = scattered(1)[0]
    # The same model under another name shows the same bank; another analysis of it makes another bank.
    bank = learnt("org/one", np.stack([at(0.8, query)]))
    mirror = store.submit(job("org/mirror"))
    store.adopt(mirror.id, SubjectKey("org/one-digest", "base-digest"), run().step)
    again = learnt("org/one", np.stack([at(0.8, query), *scattered(1, seed=5)]), step=StepKey("svd-diff", 2, "x"))
    assert again != bank
    elsewhere = learnt("org/two", np.stack([scattered(1, seed=6)[0], at(0.8, query)]))
    found = store.search.nearest_to(query, basis="base-digest", min_cosine=0.7, exact=exact)
    assert [hit.cosine for hit in found.hits] == pytest.approx([0.8, 0.8], abs=1e-6)
    by_bank = {hit.direction.bank: [model.name for model in hit.direction.models] for hit in found.hits}
    # Another tensor is another place to have learnt it, and stays a neighbour of its own.
    assert by_bank.pop(elsewhere) == ["org/two"]
    assert list(by_bank.values()) == [["org/one", "org/mirror"]]


def test_a_direction_is_no_neighbour_of_itself_nor_of_its_repetition_in_its_own_model(
    store: Store, learnt: Saved, exact: bool
) -> None:
    vectors = scattered(3)
    bank = learnt("org/one", vectors)
    learnt("org/one", np.stack([vectors[0], *scattered(1, seed=5)]), step=StepKey("svd-diff", 2, "x"))
    assert store.search.nearest(bank, 0, min_cosine=0.9, exact=exact).hits == ()
    learnt("org/two", np.stack([vectors[0]]))
    (hit,) = store.search.nearest(bank, 0, min_cosine=0.9, exact=exact).hits
    assert [model.name for model in hit.direction.models] == ["org/two"]


@ON_SQLITE
def test_many_repetitions_do_not_crowd_out_what_is_behind_them(store: Store, learnt: Saved) -> None:
    query = scattered(1)[0]
    for n in range(25):
        learnt(f"org/copy-{n}", np.stack([at(0.9, query), *scattered(1, seed=100 + n)]))
    learnt("org/behind", np.stack([*scattered(1, seed=77), at(0.7, query, seed=5)]))
    found = store.search.nearest_to(query, basis="base-digest", limit=2)
    assert [len(hit.direction.models) for hit in found.hits] == [25, 1]
    assert found.hits[1].cosine == pytest.approx(0.7, abs=1e-6)


def test_models_can_be_left_out(store: Store, learnt: Saved, exact: bool) -> None:
    query = scattered(1)[0]
    for name, cosine in {"org/one": 0.9, "org/two": 0.8, "other/three": 0.7}.items():
        learnt(name, np.stack([at(cosine, query)]))

    def names(without: str | None) -> list[str]:
        found = store.search.nearest_to(query, basis="base-digest", exclude_model=without, exact=exact)
        return [model.name for hit in found.hits for model in hit.direction.models]

    assert names(None) == ["org/one", "org/two", "other/three"]
    assert names("hf:org/one") == ["org/two", "other/three"]
    assert names("hf:org/*") == ["other/three"]
    assert names("hf:*") == []


def test_a_bank_that_others_show_too_is_kept_with_them_when_a_model_is_left_out(
    store: Store, learnt: Saved, job: Callable[..., Job], run: Callable[..., Run], exact: bool
) -> None:
    query = scattered(1)[0]
    learnt("org/one", np.stack([at(0.9, query)]))
    store.adopt(store.submit(job("org/mirror")).id, SubjectKey("org/one-digest", "base-digest"), run().step)
    (hit,) = store.search.nearest_to(query, basis="base-digest", exclude_model="hf:org/one", exact=exact).hits
    assert [model.name for model in hit.direction.models] == ["org/mirror"]


@ON_SQLITE
@pytest.mark.parametrize(
    ("vector", "told"),
    [
        ([0.0, 0.0], "is zero"),
        ([1.0, float("nan")], "not finite"),
        ([1.0, float("inf")], "not finite"),
        ([], "at least two numbers"),
        ([[1.0, 2.0]], "one row"),
        (["a", "b"], "a list of numbers"),
        ([1.0, 2.0, 3.0], "has 3 numbers; directions over base-digest have 48"),
    ],
)
def test_what_is_no_direction_is_refused(store: Store, learnt: Saved, vector: Any, told: str) -> None:
    learnt("org/one", scattered(1))
    with pytest.raises(UsageError, match=told):
        store.search.nearest_to(vector, basis="base-digest")


@ON_SQLITE
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_the_length_of_a_vector_does_not_matter(store: Store, learnt: Saved, scale: float) -> None:
    learnt("org/one", scattered(1))
    (hit,) = store.search.nearest_to(scale * scattered(1)[0].astype(np.float64), basis="base-digest").hits
    assert hit.cosine == pytest.approx(1, abs=1e-6)


@ON_SQLITE
@pytest.mark.parametrize("how", [{"limit": 0}, {"min_cosine": -0.1}, {"min_cosine": 1.1}, {"min_cosine": float("nan")}])
def test_limits_that_mean_nothing_are_refused(store: Store, learnt: Saved, how: dict[str, Any]) -> None:
    bank = learnt("org/one", scattered(1))
    with pytest.raises(UsageError, match="limit"):
        store.search.nearest(bank, 0, **how)


def test_an_unknown_direction_is_not_found(store: Store, learnt: Saved) -> None:
    bank = learnt("org/one", scattered(2))
    learnt("org/two", scattered(2, seed=1))
    assert store.search.nearest(bank[:12], 1).searched == 3
    for unknown in ((bank, 2), ("0" * 64, 0), ("", 0), ("no bank", 0), ("../x", 0)):
        with pytest.raises(NotFound, match="directions list"):
            store.search.nearest(*unknown)


@ON_SQLITE
def test_chance_is_told_for_one_direction_and_for_all_that_were_searched(store: Store, learnt: Saved) -> None:
    learnt("org/one", scattered(2000, seed=1))
    found = store.search.nearest_to(scattered(1)[0], basis="base-digest", limit=100)
    ranks = np.arange(1, 101)
    expected = np.array([hit.expected for hit in found.hits])
    # Among random directions the k-th nearest is as near as k of them are expected to be.
    assert np.abs(expected - ranks).max() < 4 * np.sqrt(100)
    assert [hit.p_value for hit in found.hits] == pytest.approx(expected / 2000)
    assert np.array_equal(expected, np.sort(expected))
