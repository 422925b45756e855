import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from registry_auditor.store import Delivery, Store

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def delivery(key: str, *, hook: str = "hf/main", seconds: int = 0) -> Delivery:
    return Delivery(hook, key, f"hf:org/{key}", NOON + timedelta(seconds=seconds))


def test_what_was_delivered_waits_until_it_is_settled_oldest_first(store: Store) -> None:
    late, early, everything = delivery("a", seconds=2), delivery("b"), Delivery("mlflow/x", "c", None, NOON)
    assert store.deliveries.accept([late, early]) == 2
    assert store.deliveries.accept([replace(everything, received_at=NOON + timedelta(seconds=1))]) == 1
    pending = store.deliveries.pending()
    assert [one.key for one in pending] == ["b", "c", "a"]
    assert replace(pending[0], id=None) == early
    assert pending[1].target is None
    assert [one.key for one in store.deliveries.pending(1)] == ["b"]
    ids = [one.id for one in pending if one.id is not None]
    store.deliveries.settle(ids[:2])
    assert [one.key for one in store.deliveries.pending()] == ["a"]
    store.deliveries.settle([])
    assert store.deliveries.accept([]) == 0


def test_what_is_delivered_again_is_dropped_even_when_it_was_settled(store: Store) -> None:
    assert store.deliveries.accept([delivery("a"), delivery("a", seconds=1), delivery("b")]) == 2
    assert store.deliveries.accept([delivery("a"), delivery("c"), delivery("a", hook="hf/other")]) == 2
    store.deliveries.settle([one.id for one in store.deliveries.pending() if one.id is not None])
    assert store.deliveries.accept([delivery("a"), delivery("b")]) == 0
    assert store.deliveries.pending() == []


def test_hundreds_are_accepted_in_one_statement(store: Store, counted: Callable[..., list[str]]) -> None:
    many = [delivery(str(n)) for n in range(900)]
    statements = counted(store, lambda: store.deliveries.accept(many))
    assert len([sql for sql in statements if sql.startswith("INSERT")]) == 1
    assert len(store.deliveries.pending(1000)) == 900
    assert store.deliveries.accept(many) == 0


def test_only_settled_deliveries_are_forgotten(store: Store) -> None:
    store.deliveries.accept([delivery("settled"), delivery("pending")])
    store.deliveries.settle(
        [one.id for one in store.deliveries.pending() if one.key == "settled" and one.id is not None]
    )
    assert store.deliveries.forget(NOON) == 0
    assert store.deliveries.forget(datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert [one.key for one in store.deliveries.pending()] == ["pending"]
    assert store.deliveries.accept([delivery("settled"), delivery("pending")]) == 1


def test_a_sender_may_name_its_deliveries_as_it_likes(store: Store) -> None:
    letters = random.Random(0).choices([chr(code) for code in range(0x4E00, 0x9FFF)], k=20_000)
    for key in ("".join(letters), "nul \0 byte", "lone \ud800 surrogate", ""):
        assert store.deliveries.accept([delivery(key)]) == 1
        assert store.deliveries.accept([delivery(key)]) == 0


def test_processes_that_accept_the_same_deliveries_add_each_once(
    store: Store, url: str, banks: str, at_once: Callable[..., list[str]]
) -> None:
    script = """
import random
from datetime import UTC, datetime
from registry_auditor.store import Delivery, Store
with Store.open(sys.argv[1], banks=sys.argv[2]) as store:
    deliveries = [Delivery("hf/main", str(n), None, datetime.now(UTC)) for n in range(300)]
    store.deliveries.pending()
    pause()
    added = 0
    for _ in range(5):
        random.shuffle(deliveries)
        added += sum(store.deliveries.accept(deliveries[start : start + 100]) for start in range(0, 300, 100))
    print(added)
"""
    assert sum(map(int, at_once(script, url, banks, processes=3))) == 300
    assert len(store.deliveries.pending(1000)) == 300
