"""Directions are compared within one base, which is named so that only one is meant."""

import pytest

from registry_auditor.domain import Job, ModelRef, SubjectKey
from registry_auditor.errors import UsageError
from registry_auditor.store import Store
from tests.store.vectors import Saved, scattered


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
