from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from registry_auditor.domain import Job, Run, RunStatus
from registry_auditor.store import RunTotal, Store, Watched

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_a_registry_that_was_never_polled_is_told_so(store: Store) -> None:
    assert store.watched.get("dir:/models") == Watched("dir:/models", None, None, None, None, None)
    assert store.watched.list() == []


def test_what_is_known_of_a_registry_is_what_was_saved_last(store: Store) -> None:
    first = Watched("hf:org", "2026-07-01T12:00:00Z", "plan-digest", NOON, NOON, None)
    later = replace(first, polled_at=NOON + timedelta(minutes=1), problem="the registry answers 503")
    for state in (first, later):
        store.watched.save(state)
        assert store.watched.get("hf:org") == state
    store.watched.save(Watched("dir:/models"))
    assert store.watched.list() == [Watched("dir:/models"), later]
    store.watched.save(Watched("hf:org"))
    assert store.watched.get("hf:org") == Watched("hf:org")


def test_runs_are_counted_and_their_seconds_added(
    store: Store, job: Callable[..., Job], run: Callable[..., Run], step: object
) -> None:
    assert store.run_totals() == []
    audit = store.submit(job())
    store.save(audit.id, run(seconds=1.5))
    for seconds in (1.0, 2.0):
        store.save(audit.id, run(status=RunStatus.FAILED, reason="no", seconds=seconds))
    store.save(audit.id, run(step=replace(run().step, version=2)))
    assert store.run_totals() == [
        RunTotal("svd-diff", 1, RunStatus.FAILED, 2, 3.0),
        RunTotal("svd-diff", 1, RunStatus.OK, 1, 1.5),
        RunTotal("svd-diff", 2, RunStatus.OK, 1, 1.5),
    ]
