"""Banks whose files are missing, cut short, changed or nonsense: counted, and in nobody's way."""

from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import sqlalchemy as sa

from registry_auditor.domain import Direction, Job, Run, Site
from registry_auditor.errors import StoreError
from registry_auditor.store import Store
from registry_auditor.store.tables import BankRow
from tests.store.vectors import DIMENSION, ON_SQLITE, Saved, at, scattered


def test_banks_that_are_missing_or_were_cut_short_are_counted_and_stop_nobody(
    store: Store, learnt: Saved, banks: str, reopened: Callable[[], Store], exact: bool
) -> None:
    query = scattered(1)[0]
    gone, short, kept = (learnt(f"org/{n}", np.stack([at(0.9, query, seed=n)] * (n + 1))) for n in range(3))
    paths = {file.stem: file for file in Path(banks).rglob("*.safetensors")}
    store.search.nearest_to(query, basis="base-digest", exact=exact)
    paths[gone].rename(paths[gone].with_suffix(".away"))
    paths[short].write_bytes(paths[short].read_bytes()[:-4])
    for again in (store, reopened()):
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
