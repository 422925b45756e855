import itertools
from collections.abc import Callable

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.store import Page, Sighting, Store

FOLDER, HUB = "dir:/models", "hf:org"
BASE = ModelRef("hf", "org/base", "1b2c")


def model(name: str, revision: str | None = "3f2a") -> ModelRef:
    return ModelRef("hf", name, revision)


def everything(ask: Callable[..., Page[Sighting]], **arguments: object) -> list[Sighting]:
    found, after = [], None
    while True:
        page = ask(limit=2, after=after, **arguments)
        found.extend(page.items)
        if page.next is None:
            return found
        after = page.next


def test_a_sighting_tells_who_showed_the_model_and_what_was_said(store: Store) -> None:
    store.sightings.record(model("org/tuned"), base=BASE, source=BaseSource.CARD, registry=FOLDER)
    (seen,) = store.sightings.list().items
    assert (seen.model, seen.base, seen.base_source) == (model("org/tuned"), BASE, BaseSource.CARD)
    assert (seen.skipped, seen.registry) == (None, FOLDER)
    assert seen.first_seen_at == seen.last_seen_at


def test_a_model_without_a_revision_can_be_seen(store: Store) -> None:
    store.sightings.record(model("org/gated", None), skipped="it is gated", registry=HUB)
    assert store.sightings.list().items[0].model == model("org/gated", None)


def test_the_same_sighting_again_moves_its_time_and_its_reason(store: Store) -> None:
    for why in ("no weights yet", "names no base"):
        store.sightings.record(model("org/x"), skipped=why, registry=HUB)
    (seen,) = store.sightings.list().items
    assert seen.skipped == "names no base"
    assert seen.first_seen_at < seen.last_seen_at


def test_a_skipped_model_whose_base_turns_up_is_skipped_no_longer(store: Store) -> None:
    store.sightings.record(model("org/x"), source=BaseSource.CARD, skipped="there is no org/base", registry=HUB)
    store.sightings.record(model("org/x"), base=BASE, source=BaseSource.CARD, registry=HUB)
    (seen,) = store.sightings.list().items
    assert (seen.base, seen.skipped) == (BASE, None)


def test_a_person_who_asks_does_not_take_a_model_out_of_its_registry(store: Store) -> None:
    store.sightings.record(model("org/x"), registry=HUB)
    store.sightings.record(model("org/x"))
    assert store.sightings.list().items[0].registry == HUB
    store.sightings.record(model("org/y"))
    store.sightings.record(model("org/y"), registry=HUB)
    assert [seen.registry for seen in store.sightings.list().items] == [HUB, HUB]


def test_sightings_are_listed_newest_first_by_what_is_asked_for(store: Store) -> None:
    for n in range(5):
        skipped = "names no base" if n % 2 else None
        store.sightings.record(model(f"org/{n}"), skipped=skipped, registry=HUB if n < 3 else FOLDER)
    assert [seen.model.name for seen in everything(store.sightings.list)] == [f"org/{n}" for n in (4, 3, 2, 1, 0)]
    assert [seen.model.name for seen in everything(store.sightings.list, skipped=True)] == ["org/3", "org/1"]
    assert [seen.model.name for seen in everything(store.sightings.list, skipped=False)] == ["org/4", "org/2", "org/0"]
    assert [seen.model.name for seen in everything(store.sightings.list, registry=FOLDER)] == ["org/4", "org/3"]
    assert [seen.model.name for seen in everything(store.sightings.list, model_glob="hf:org/[2]")] == []
    assert [seen.model.name for seen in everything(store.sightings.list, model_glob="*/2@3f2a")] == ["org/2"]
    assert [seen.model.name for seen in everything(store.sightings.list, registry=HUB, skipped=True)] == ["org/1"]


def test_a_list_goes_on_where_it_stopped_while_its_models_are_seen_again(store: Store) -> None:
    for n in range(4):
        store.sightings.record(model(f"org/{n}"), registry=HUB)
    first = store.sightings.list(limit=2)
    for n in range(4):
        store.sightings.record(model(f"org/{n}"), registry=HUB)
    second = store.sightings.list(limit=2, after=first.next)
    assert [seen.model.name for seen in first.items + second.items] == ["org/3", "org/2", "org/1", "org/0"]


def test_a_page_costs_one_statement(store: Store, counted: Callable[..., list[str]]) -> None:
    for n in range(5):
        store.sightings.record(model(f"org/{n}"), base=BASE, registry=HUB)
    for ask in (store.sightings.list, lambda: store.sightings.newest(HUB)):
        assert len(counted(store, ask)) == 1


def test_the_newest_revision_of_each_model_is_the_one_seen_last(store: Store) -> None:
    for revision, name in itertools.product(("1", "2", "3"), ("org/b", "org/a")):
        store.sightings.record(model(name, revision), registry=HUB)
    store.sightings.record(model("org/a", "2"), base=BASE, source=BaseSource.CARD, registry=HUB)
    store.sightings.record(model("org/b", "1"), registry=HUB)  # rolled back
    store.sightings.record(model("org/b", "9"), registry=FOLDER)
    store.sightings.record(model("org/c", "9"))
    newest = everything(lambda **page: store.sightings.newest(HUB, **page))
    assert [seen.model for seen in newest] == [model("org/a", "2"), model("org/b", "1")]
    assert newest[0].base == BASE
    assert store.sightings.newest("hf:nobody").items == ()


def test_every_model_is_met_once_on_the_pages_of_the_newest(store: Store) -> None:
    names = sorted(f"org/{n}:x" for n in range(7))
    for name in names:
        store.sightings.record(model(name, "1"), registry=HUB)
        store.sightings.record(ModelRef("dir", f"/{name}", "1"), registry=HUB)
        store.sightings.record(model(name, "2"), registry=HUB)
    newest = everything(lambda **page: store.sightings.newest(HUB, **page))
    assert len(newest) == len({(seen.model.registry, seen.model.name) for seen in newest}) == 14
    assert {seen.model.revision for seen in newest if seen.model.registry == "hf"} == {"2"}


def test_processes_that_see_the_same_models_keep_each_once(
    store: Store, url: str, banks: str, at_once: Callable[..., list[str]]
) -> None:
    script = """
from registry_auditor.domain import ModelRef
from registry_auditor.store import Store
with Store.open(sys.argv[1], banks=sys.argv[2]) as store:
    store.sightings.list()
    pause()
    models = [ModelRef("hf", f"org/{n}", "1") for n in range(10)]
    for tuned, base in zip(models, reversed(models), strict=True):
        store.sightings.record(tuned, base=base, registry="hf:org")
"""
    at_once(script, url, banks, processes=3)
    assert len(store.sightings.list(limit=100).items) == 10
