"""Whatever a registry shows leads to one audit, or to a reason why not that can be listed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from registry_auditor.analysis.discover import plan
from registry_auditor.config import Settings
from registry_auditor.domain import Audit, BaseSource, ModelRef
from registry_auditor.registries import Change, resolve
from registry_auditor.store import Delivery, Store
from registry_auditor.watch import Watcher, answer_deliveries, look, look_around, watch
from tests import planted

MakeModel = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A watched folder, with nothing in it."""
    (tmp_path / "registry").mkdir()
    return tmp_path / "registry"


@pytest.fixture
def publish(base: Path, root: Path) -> MakeModel:
    """A function that puts a fine-tune of `base` into the registry, whose card claims a base."""

    def make(name: str, *, claimed: str | None = "acme/base", seed: int = 0) -> Path:
        def change(tensors: dict[str, Tensor]) -> None:
            planted.add_rank_one(tensors[planted.weight(0, "mlp.up_proj")], seed=seed)

        folder = planted.fine_tune(base, root / name, change)
        if claimed:
            (folder / "README.md").write_text(f"---\nbase_model: {claimed}\n---\n")
        return folder

    return make


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with Store.open(db) as opened:
        yield opened


@pytest.fixture
def watcher(store: Store, root: Path) -> Watcher:
    settings = Settings(registries=[f"dir:{root}"], settle_s=0)
    return Watcher.of(settings, store, plan(["svd-diff"], {}))


def look_at_all(watcher: Watcher) -> int:
    return sum(look(watcher, registry) for registry in watcher.registries.values())


def audits(store: Store) -> dict[str, Audit]:
    return {Path(audit.job.model.name).name: audit for audit in store.audits().items}


def skipped(store: Store) -> dict[str, str]:
    return {Path(each.model.name).name: each.skipped or "" for each in store.sightings.list(skipped=True).items}


def delivery(target: str | None, *, key: str = "1") -> Delivery:
    return Delivery("hook", key, target, datetime.now(UTC))


def test_a_fine_tune_is_queued_once_against_the_base_that_its_card_names(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    publish("tuned")
    assert look_at_all(watcher) == 1
    assert look_at_all(watcher) == 0
    (audit,) = audits(store).values()
    assert audit.job.base is not None
    assert (Path(audit.job.base.name), audit.job.base_source) == (root / "base", BaseSource.CARD)
    assert "names no base" in skipped(store)["base"]


def test_a_fine_tune_that_comes_before_its_base_is_audited_when_the_base_has_come(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    publish("tuned")
    assert look_at_all(watcher) == 0
    assert "acme/base" in skipped(store)["tuned"]
    shutil.copytree(base, root / "base")
    assert look_at_all(watcher) == 1
    assert set(skipped(store)) == {"base"}


def test_a_restarted_watcher_has_not_forgotten_what_it_waited_for(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    publish("tuned")
    look_at_all(watcher)
    shutil.copytree(base, root / "base")
    assert look_at_all(replace(watcher, again={})) == 1


def test_a_half_written_upload_is_not_audited_before_it_is_whole(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    weights = publish("tuned") / planted.WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert look_at_all(watcher) == 0
    assert "tuned" in skipped(store)
    weights.write_bytes(whole)
    assert look_at_all(watcher) == 1
    assert "tuned" not in skipped(store)


def test_new_content_is_a_new_audit_and_the_old_one_stays(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    folder = publish("tuned")
    look_at_all(watcher)
    shutil.rmtree(folder)
    publish("tuned", seed=1)
    assert look_at_all(watcher) == 1
    assert len({audit.job.model.revision for audit in store.audits().items}) == 2


def test_a_changed_plan_queues_the_newest_revision_again(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    folder = publish("tuned")
    look_at_all(watcher)
    shutil.rmtree(folder)
    publish("tuned", seed=1)
    look_at_all(watcher)
    newest = store.audits().items[0].job.model
    changed = replace(watcher, plan=tuple(plan(["svd-diff"], {"svd-diff": {"max_directions": 3}})))
    assert look_at_all(changed) == 1
    assert store.audits().items[0].job.model == newest
    assert look_at_all(changed) == 0


def test_two_watchers_at_once_queue_nothing_twice(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    for number in range(4):
        publish(f"tuned-{number}", seed=number)
    threads = [threading.Thread(target=look_at_all, args=(replace(watcher, again={}),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.audits().items) == 4


def test_a_registry_that_is_gone_is_told_and_is_looked_at_again(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    root.rename(root.with_name("elsewhere"))
    assert look_at_all(watcher) == 0
    (state,) = store.watched.list()
    assert str(root) in (state.problem or "")
    assert state.full_at is None
    root.with_name("elsewhere").rename(root)
    publish("tuned")
    assert look_at_all(watcher) == 1
    assert store.watched.list()[0].problem is None


def test_a_base_that_only_an_unreachable_hub_may_have_is_asked_for_again(
    watcher: Watcher, store: Store, publish: MakeModel
) -> None:
    publish("tuned", claimed="acme/only-on-the-hub")
    assert look_at_all(watcher) == 0
    assert "it is looked at again" in skipped(store)["tuned"]
    again = watcher.again[next(iter(watcher.registries.values())).spec]
    assert {Path(model.name).name for model in again.unreached} == {"tuned"}


class Shows:
    """A registry that shows these models and knows nothing else."""

    spec = "fake:"

    def __init__(self, *models: ModelRef) -> None:
        self._models = models

    def changes(self, since: str | None = None) -> Iterator[Change]:
        return (Change(model, str(number)) for number, model in enumerate(self._models))

    def find(self, claimed: str, *, of: ModelRef) -> None:
        return None


def test_a_model_that_meets_a_bug_is_listed_and_stops_no_other(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    shows: Any = Shows(ModelRef("unheard-of", "strange", "1"), resolve(str(publish("tuned"))))
    assert look(replace(watcher, registries={"fake:": shows}), shows) == 1
    assert "this is a bug" in skipped(store)["strange"]


def test_a_registry_is_looked_at_when_its_time_has_come(watcher: Watcher, store: Store) -> None:
    look_around(watcher)
    (first,) = store.watched.list()
    look_around(watcher)
    assert store.watched.list() == [first]
    look_around(replace(watcher, poll_s=0))
    (later,) = store.watched.list()
    assert later.polled_at > first.polled_at
    assert later.full_at == first.full_at


def test_deliveries_are_looked_up_and_settled(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    tuned = publish("tuned")
    named = [delivery(f"dir:{tuned}", key=str(number)) for number in range(3)]
    assert store.deliveries.accept([*named, delivery("dir:/nowhere", key="x"), delivery("mlflow:", key="y")]) == 5
    assert answer_deliveries(watcher) == 1
    assert store.deliveries.pending() == []
    assert set(audits(store)) == {"tuned"}


@pytest.mark.parametrize("named", [True, False])
def test_a_delivery_about_a_registry_or_about_nothing_is_a_reason_to_look_at_it(
    named: bool, watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    publish("tuned")
    store.deliveries.accept([delivery(f"dir:{root}" if named else None)])
    assert answer_deliveries(watcher) == 1


def test_a_delivery_that_cannot_be_looked_up_yet_is_kept_and_holds_up_no_other(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    tuned = publish("tuned")
    store.deliveries.accept([delivery("hf:acme/unreachable", key="1"), delivery(f"dir:{tuned}", key="2")])
    assert answer_deliveries(watcher) == 1
    assert [kept.target for kept in store.deliveries.pending()] == ["hf:acme/unreachable"]


def test_a_copied_folder_is_noticed_at_once_without_polling(
    watcher: Watcher, store: Store, base: Path, root: Path, publish: MakeModel
) -> None:
    shutil.copytree(base, root / "base")
    stop = threading.Event()
    thread = threading.Thread(target=watch, args=(watcher, stop))
    thread.start()
    try:
        wait_until(lambda: store.watched.list())
        publish("tuned")
        wait_until(lambda: audits(store))
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def wait_until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
