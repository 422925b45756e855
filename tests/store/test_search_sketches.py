"""What is kept of directions between searches: sketches in the database, an index in memory, and their limits."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from registry_auditor.domain import Direction, Job, Run, Site
from registry_auditor.store import Store
from registry_auditor.store.search import index
from registry_auditor.store.tables import BankRow
from tests.store.vectors import DIMENSION, ON_SQLITE, Saved, at, scattered, unit


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
    store: Store, learnt: Saved, reopened: Callable[[], Store]
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
    assert cosines(reopened()) == pytest.approx([0.9, 0.8, 0.7], abs=1e-6)
    assert kept() == first


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
