"""Whoever audits shows what it audits with, and whoever serves can tell it without the code."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from registry_auditor.errors import NotFound
from registry_auditor.store import Store
from registry_auditor.store.catalogue import AnalyzerInfo

FIRST = AnalyzerInfo(
    "svd-diff", 1, ("base",), "Finds directions.", "Finds directions.\n\n## Source", {"type": "object"}
)
SECOND = replace(FIRST, version=2, summary="Finds more directions.")
OTHER = AnalyzerInfo("alpha", 1, (), "", "", {})


def test_the_newest_version_of_each_is_listed_by_name(store: Store) -> None:
    store.analyzers.save([SECOND, OTHER])
    store.analyzers.save([FIRST])
    assert [replace(each, seen_at=None) for each in store.analyzers.list()] == [OTHER, SECOND]
    assert replace(store.analyzers.get("svd-diff"), seen_at=None) == SECOND
    assert replace(store.analyzers.get("svd-diff", 1), seen_at=None) == FIRST


def test_a_version_that_is_shown_again_is_as_it_was_shown_last(store: Store) -> None:
    store.analyzers.save([FIRST])
    before = store.analyzers.get("svd-diff")
    store.analyzers.save([replace(FIRST, manual="Corrected.")])
    after = store.analyzers.get("svd-diff")
    assert after.manual == "Corrected."
    assert before.seen_at < after.seen_at  # type: ignore[operator]


def test_nothing_shown_changes_nothing(store: Store) -> None:
    store.analyzers.save([])
    assert store.analyzers.list() == []


@pytest.mark.parametrize("asked", [("none", None), ("svd-diff", 3)])
def test_what_nobody_has_is_not_found(store: Store, asked: tuple[str, int | None]) -> None:
    store.analyzers.save([FIRST])
    with pytest.raises(NotFound, match=asked[0]):
        store.analyzers.get(*asked)


def test_each_question_is_one_statement(store: Store, counted: Callable[..., list[str]]) -> None:
    store.analyzers.save([FIRST, SECOND, OTHER])
    assert len(counted(store, store.analyzers.list)) == 1
    assert len(counted(store, lambda: store.analyzers.get("svd-diff"))) == 1
