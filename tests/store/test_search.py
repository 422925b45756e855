from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from registry_auditor.domain import Direction, Job, ModelRef, Run, Side, Site, StepKey, SubjectKey
from registry_auditor.errors import NotFound, StoreError, UsageError
from registry_auditor.store import Store
from registry_auditor.store.banks import BankFolder

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
        name: str, vectors: Vectors, *, base: str | None = "base-digest", of_job: Any = None, **of_run: Any
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
        audit = store.submit(job(name, **(of_job or {})))
        made = run(subject=SubjectKey(f"{name}-digest", base), directions=directions)
        store.save(audit.id, replace(made, **of_run))
        return store.runs(audit.id)[-1].banks[0].sha256

    return save


def reopened(store: Store, banks: str) -> Store:
    """What another process has: the same database, nothing read yet."""
    return Store(store._engine, BankFolder.open(banks))


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


def test_many_repetitions_do_not_crowd_out_what_is_behind_them(store: Store, learnt: Saved) -> None:
    query = scattered(1)[0]
    for n in range(60):
        learnt(f"org/copy-{n}", np.stack([at(0.9, query), *scattered(1, seed=100 + n)]))
    learnt("org/behind", np.stack([*scattered(1, seed=77), at(0.7, query, seed=5)]))
    found = store.search.nearest_to(query, basis="base-digest", limit=2)
    assert [len(hit.direction.models) for hit in found.hits] == [60, 1]
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


def test_other_bases_and_other_dimensions_are_never_compared(store: Store, learnt: Saved, exact: bool) -> None:
    vectors = scattered(3)
    bank = learnt("org/one", vectors)
    learnt("org/two", vectors, base="another-base")
    learnt("org/three", scattered(3, dimension=8))
    found = store.search.nearest(bank, 0, exact=exact)
    assert found.searched == 2
    assert {model.name for hit in found.hits for model in hit.direction.models} == {"org/one"}


def test_directions_without_a_base_are_compared_with_their_own_bank_only(store: Store, learnt: Saved) -> None:
    # A job without a base: what its directions are made of is nobody's guess.
    vectors = scattered(3)
    bank = learnt("org/one", vectors, base=None, of_job={"base": None, "base_source": None})
    learnt("org/two", vectors[::-1].copy(), base=None, of_job={"base": None, "base_source": None})
    found = store.search.nearest(bank, 0)
    assert (found.searched, found.basis) == (2, "")
    with pytest.raises(UsageError, match="no directions over the base ''"):
        store.search.nearest_to(vectors[0], basis="")


def test_a_base_that_only_some_audits_could_read_is_one_basis(store: Store, learnt: Saved) -> None:
    # The first audit is of an adapter whose base was out of reach: its bank knows the base by reference alone.
    vectors = scattered(3)
    bank = learnt("org/adapter", vectors, base=None)
    assert store.search.nearest(bank, 0).searched == 2
    full = learnt("org/full", scattered(3, seed=1))
    store.set_subject(store.submit(Job(ModelRef("hf", "org/x"), ModelRef("hf", "org/base", "1b2c"))).id,
                      SubjectKey("x", "base-digest"))  # fmt: skip
    for found in (store.search.nearest(bank, 0), store.search.nearest(full, 0)):
        assert (found.searched, found.basis) == (5, "base-digest")
    for name in ("base-digest", "base-d", "hf:org/base", "hf:org/base@1b2c"):
        assert store.search.nearest_to(vectors[0], basis=name).searched == 6


def test_a_base_is_named_so_that_only_one_is_meant(store: Store, learnt: Saved) -> None:
    learnt("org/one", scattered(1), base="sha256:aa11")
    learnt("org/two", scattered(1), base="sha256:aa22")
    with pytest.raises(UsageError, match="more than one base: sha256:aa11, sha256:aa22"):
        store.search.nearest_to(scattered(1)[0], basis="sha256:aa")
    assert store.search.nearest_to(scattered(1)[0], basis="sha256:aa1").searched == 1
    with pytest.raises(UsageError, match="such as sha256:aa11"):
        store.search.nearest_to(scattered(1)[0], basis="hf:org/unknown")


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


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_the_length_of_a_vector_does_not_matter(store: Store, learnt: Saved, scale: float) -> None:
    learnt("org/one", scattered(1))
    (hit,) = store.search.nearest_to(scale * scattered(1)[0].astype(np.float64), basis="base-digest").hits
    assert hit.cosine == pytest.approx(1, abs=1e-6)


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


def test_chance_is_told_for_one_direction_and_for_all_that_were_searched(store: Store, learnt: Saved) -> None:
    learnt("org/one", scattered(2000, seed=1))
    found = store.search.nearest_to(scattered(1)[0], basis="base-digest", limit=100)
    ranks = np.arange(1, 101)
    expected = np.array([hit.expected for hit in found.hits])
    # Among random directions the k-th nearest is as near as k of them are expected to be.
    assert np.abs(expected - ranks).max() < 4 * np.sqrt(100)
    assert [hit.p_value for hit in found.hits] == pytest.approx(expected / 2000)
    assert np.array_equal(expected, np.sort(expected))


def test_banks_that_are_missing_or_were_cut_short_are_counted_and_stop_nobody(
    store: Store, learnt: Saved, banks: str, exact: bool
) -> None:
    query = scattered(1)[0]
    gone, short, kept = (learnt(f"org/{n}", np.stack([at(0.9, query, seed=n)] * (n + 1))) for n in range(3))
    paths = {file.stem: file for file in Path(banks).rglob("*.safetensors")}
    store.search.nearest_to(query, basis="base-digest", exact=exact)
    paths[gone].rename(paths[gone].with_suffix(".away"))
    paths[short].write_bytes(paths[short].read_bytes()[:-4])
    for again in (store, reopened(store, banks)):
        found = again.search.nearest_to(query, basis="base-digest", exact=exact)
        assert {hit.direction.bank for hit in found.hits} == {kept}
        assert (found.searched, found.missing) == (3, 3)
        with pytest.raises(StoreError, match=f"bank {gone}: its file is missing"):
            again.search.nearest(gone, 0)


def test_a_bank_that_comes_back_is_searched_again(store: Store, learnt: Saved, banks: str, exact: bool) -> None:
    bank = learnt("org/one", scattered(2))
    (file,) = Path(banks).rglob("*.safetensors")
    file.rename(file.with_suffix(".away"))
    with pytest.raises(StoreError):
        store.search.nearest(bank, 0, exact=exact)
    assert store.search.nearest_to(scattered(1)[0], basis="base-digest", exact=exact).missing == 2
    file.with_suffix(".away").rename(file)
    learnt("org/two", scattered(1, seed=1))
    assert store.search.nearest(bank, 0, exact=exact).searched == 2


def test_a_bank_of_nonsense_has_no_neighbours(store: Store, learnt: Saved, exact: bool) -> None:
    query = scattered(1)[0]
    for value in (np.nan, np.inf, 0.0, 3e38):
        learnt(f"org/{value}", np.full((2, DIMENSION), value, np.float32) * np.sign(query))
    kept = learnt("org/kept", np.stack([at(0.9, query)]))
    hits = store.search.nearest_to(query, basis="base-digest", min_cosine=0.5, limit=50, exact=exact).hits
    assert kept in {hit.direction.bank for hit in hits}
    assert all(0.5 <= abs(hit.cosine) <= 1 for hit in hits)


def test_what_is_saved_later_is_found_without_reading_the_rest_again(
    store: Store, learnt: Saved, counted: Callable[..., list[str]], exact: bool
) -> None:
    query = scattered(1)[0]
    learnt("org/one", scattered(5, seed=1))
    search = lambda: store.search.nearest_to(query, basis="base-digest", min_cosine=0.9, exact=exact)  # noqa: E731
    assert search().hits == ()
    cold = len(counted(store, search))
    learnt("org/two", np.stack([at(0.95, query)]))
    assert len(search().hits) == 1
    assert len(counted(store, search)) == cold + 2  # the direction that was found, and whose it is
