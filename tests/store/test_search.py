import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa

from registry_auditor.domain import Direction, Job, ModelRef, Run, Side, Site, StepKey, SubjectKey
from registry_auditor.errors import NotFound, StoreError, UsageError
from registry_auditor.store import Store
from registry_auditor.store.banks import BankFolder
from registry_auditor.store.search import index
from registry_auditor.store.tables import BankRow

Vectors = npt.NDArray[np.float32]
Saved = Callable[..., str]

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


@ON_SQLITE
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


def test_sketches_are_kept_when_a_run_is_saved_and_made_where_they_are_not(
    url: str, store: Store, learnt: Saved, banks: str
) -> None:
    query = scattered(1)[0]
    saved = [learnt(f"org/{n}", np.stack([at(0.9 - 0.1 * n, query), *scattered(4, seed=n + 1)])) for n in range(3)]

    def kept() -> dict[str, bytes | None]:
        with store._engine.connect() as connection:
            return {row.sha256: row.sketches for row in connection.execute(sa.select(BankRow.sha256, BankRow.sketches))}

    def cosines(again: Store) -> list[float]:
        found = again.search.nearest_to(query, basis="base-digest", limit=3, exact=False)
        return [hit.cosine for hit in found.hits]

    first = kept()
    assert {sha256: len(sketches or b"") for sha256, sketches in first.items()} == dict.fromkeys(saved, 5 * 128)
    # As a database of an earlier release has it, and one in which somebody has cut them off.
    with store._engine.begin() as connection:
        connection.execute(sa.update(BankRow).where(BankRow.sha256 == saved[0]).values(sketches=None))
        connection.execute(sa.update(BankRow).where(BankRow.sha256 == saved[1]).values(sketches=b"cut"))
    assert cosines(reopened(store, banks)) == pytest.approx([0.9, 0.8, 0.7], abs=1e-6)
    assert kept() == first


def test_a_bank_that_was_changed_gets_no_sketches(store: Store, learnt: Saved, banks: str) -> None:
    learnt("org/one", scattered(3))
    (file,) = Path(banks).rglob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with store._engine.begin() as connection:
        connection.execute(sa.update(BankRow).values(sketches=None))
    found = store.search.nearest_to(scattered(1)[0], basis="base-digest", exact=False)
    assert (found.hits, found.searched, found.missing) == ((), 0, 3)


def test_a_database_that_only_reads_is_searched_all_the_same(
    sqlite_url: str, banks: str, tmp_path: Path, job: Callable[..., Job], run: Callable[..., Run]
) -> None:
    made = run(directions=tuple(Direction(Site("x"), 0, 1.0, 0.0, vector) for vector in scattered(3)))
    with Store.open(sqlite_url, banks=banks) as store:
        store.save(store.submit(job()).id, made)
        with store._engine.begin() as connection:
            connection.execute(sa.update(BankRow).values(sketches=None))
    with Store.open(f"sqlite:///file:{tmp_path}/auditor.db?mode=ro&uri=true", banks=banks) as store:
        (hit, *_) = store.search.nearest_to(scattered(3)[1], basis="base-digest", exact=False).hits
        assert hit.direction.ordinal == 1


def test_threads_share_one_index_while_banks_are_added(store: Store, learnt: Saved, exact: bool) -> None:
    query = scattered(1)[0]
    learnt("org/first", scattered(20, seed=1))
    wrong: list[object] = []
    done = threading.Event()

    def ask() -> None:
        at_least = 0
        while not done.is_set():
            found = store.search.nearest_to(query, basis="base-digest", min_cosine=0.85, limit=50, exact=exact)
            near = sorted(abs(hit.cosine) for hit in found.hits)
            if found.missing or len(near) < at_least or (near and near[0] < 0.899):
                wrong.append(found)
            at_least = len(near)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(6):
        learnt(f"org/{n}", np.stack([at(0.9, query, seed=n), *scattered(3, seed=50 + n)]))
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(store.search.nearest_to(query, basis="base-digest", min_cosine=0.85, limit=50, exact=exact).hits) == 6


@ON_SQLITE
def test_only_the_spaces_used_last_keep_their_sketches(
    store: Store, learnt: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "KEPT_BYTES", 3 * 128)
    for base in ("one", "two", "three"):
        learnt(f"org/{base}", scattered(2), base=base)
        store.search.nearest_to(scattered(1)[0], basis=base, exact=False)
    kept = [key.bases[0] for key in store.search._index._entries]
    assert kept == ["three"]
    assert store.search.nearest_to(scattered(1)[0], basis="one", exact=False).searched == 2


@ON_SQLITE
def test_what_is_too_much_to_read_is_searched_by_sketches(
    store: Store, learnt: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = learnt("org/one", scattered(100))
    assert store.search.nearest(bank, 0).exact
    monkeypatch.setattr(index, "EXACT_BYTES", 100 * 4 * DIMENSION - 1)
    assert not store.search.nearest(bank, 0).exact


@ON_SQLITE
def test_sketches_bring_the_ten_nearest_of_a_crowd(store: Store, learnt: Saved) -> None:
    # 3,000 directions around one line, at cosines that differ by less than a sketch can tell.
    line = scattered(1)[0]
    random = np.random.default_rng(5)
    near = random.uniform(0.4, 0.8, (3000, 1))
    across = scattered(3000, seed=6)
    across -= (across @ line)[:, None] * line
    learnt("org/crowd", unit(near * line + np.sqrt(1 - near**2) * unit(across)))
    found, true = (store.search.nearest_to(line, basis="base-digest", exact=exact) for exact in (False, True))
    assert [hit.direction.ordinal for hit in found.hits] == [hit.direction.ordinal for hit in true.hits]


def test_banks_in_an_object_store_are_searched_row_by_row(
    url: str, tmp_path: Path, job: Callable[..., Job], run: Callable[..., Run], exact: bool
) -> None:
    vectors = scattered(5)
    made = run(directions=tuple(Direction(Site(f"x{k}"), 0, 1.0, 0.0, vector) for k, vector in enumerate(vectors)))
    with Store.open(url, banks=f"memory://{tmp_path.name}/banks") as store:
        store.save(store.submit(job()).id, made)
        bank = store.directions.list().items[0].bank
        found = store.search.nearest(bank, 2, exact=exact)
        assert sorted(hit.direction.ordinal for hit in found.hits) == [0, 1, 3, 4]
        assert [hit.cosine for hit in found.hits] == pytest.approx(
            [float(vectors[hit.direction.ordinal] @ vectors[2]) for hit in found.hits], abs=1e-6
        )
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)
        assert store.search.nearest_to(vectors[0], basis="base-digest", exact=exact).missing == 5


def test_tells_which_models_share_what_an_audit_found(store: Store, learnt: Saved, exact: bool) -> None:
    lessons = scattered(4)
    bank = learnt("org/mine", lessons)
    learnt("org/mine", scattered(2, seed=8), of_job={"model": ModelRef("hf", "org/mine", "later")})
    learnt("org/all", np.stack([at(0.95, lessons[k], seed=k) for k in range(4)] + [*scattered(50, seed=1)]))
    learnt("org/one", np.stack([*scattered(30, seed=2), at(-0.99, lessons[2])]))
    learnt("org/none", scattered(30, seed=3))
    audit = store.audits(model_glob="hf:org/mine@3f2a").items[0].id
    found = store.search.shared(audit[:23], min_cosine=0.9, exact=exact)
    assert [(other.model.name, other.matched, other.directions) for other in found.models] == [
        ("org/all", 4, 54),
        ("org/one", 1, 31),
    ]
    assert (found.asked, found.compared, found.searched, found.missing) == (4, 3, 54 + 31 + 30, 0)
    (pair,) = found.models[1].pairs
    assert (pair.mine.bank, pair.mine.ordinal, pair.theirs.ordinal) == (bank, 2, 30)
    assert pair.cosine == pytest.approx(-0.99, abs=1e-6)
    assert pair.p_value < found.models[1].p_value == pytest.approx(4 * 31 * pair.p_value)
    assert store.search.shared(audit, limit=1, min_cosine=0.9, strongest=2).models[0].matched == 2


def test_a_mirror_shares_everything_though_it_is_the_same_bank(
    store: Store, learnt: Saved, job: Callable[..., Job], run: Callable[..., Run], exact: bool
) -> None:
    learnt("org/mine", scattered(4))
    audit = store.audits().items[0].id
    store.adopt(store.submit(job("org/mirror")).id, SubjectKey("org/mine-digest", "base-digest"), run().step)
    (mirror,) = store.search.shared(audit, exact=exact).models
    assert (mirror.model.name, mirror.matched) == ("org/mirror", 4)
    assert [pair.cosine for pair in mirror.pairs] == pytest.approx([1] * 4, abs=1e-6)


@ON_SQLITE
def test_random_models_share_nothing_that_chance_would_not(store: Store, learnt: Saved) -> None:
    learnt("org/mine", scattered(20))
    audit = store.audits().items[0].id
    for n in range(40):
        learnt(f"org/{n}", scattered(20, seed=n + 1))
    p_values = np.array([other.p_value for other in store.search.shared(audit, limit=40, min_cosine=0.3).models])
    assert len(p_values) == 40
    for level in (0.05, 0.2, 0.5):  # a bound on the chance, and not a loose one
        assert 0.3 * level - 0.02 < np.mean(p_values < level) < level + 0.15


def test_an_audit_without_directions_shares_nothing(
    store: Store, job: Callable[..., Job], run: Callable[..., Run]
) -> None:
    audit = store.submit(job())
    store.save(audit.id, run())
    found = store.search.shared(audit.id)
    assert (found.models, found.asked, found.compared, found.basis) == ((), 0, 0, "")
    with pytest.raises(NotFound):
        store.search.shared("0000")


def test_how_much_is_asked_of_the_database_does_not_depend_on_how_much_is_found(
    store: Store, learnt: Saved, counted: Callable[..., list[str]], exact: bool
) -> None:
    query = scattered(1)[0]
    bank = learnt("org/0", np.stack([query, *scattered(3, seed=3)]))
    audit = store.audits().items[0].id
    learnt("org/1", np.stack([at(0.9, query, seed=1)]))

    def statements() -> list[int]:
        calls: list[Callable[[], object]] = [
            lambda: store.search.nearest(bank, 0, limit=50, exact=exact),
            lambda: store.search.nearest_to(query, basis="base-digest", limit=50, exact=exact),
            lambda: store.search.shared(audit, exact=exact),
        ]
        for call in calls:
            call()
        return [len(counted(store, call)) for call in calls]

    few = statements()
    for n in range(2, 12):
        learnt(f"org/{n}", np.stack([at(0.9, query, seed=n)]))
    assert statements() == few
    assert max(few[:2]) <= 9
