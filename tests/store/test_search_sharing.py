"""Which models share what an audit found, and whether chance would."""

from collections.abc import Callable

import numpy as np
import pytest

from registry_auditor.domain import Job, ModelRef, Run, SubjectKey
from registry_auditor.errors import NotFound
from registry_auditor.store import Store
from tests.store.vectors import ON_SQLITE, Saved, at, scattered


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
