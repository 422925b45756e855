"""Deliveries that arrive together are written together; an answer means that they are committed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from registry_auditor.api.intake import Intake
from registry_auditor.errors import StoreError
from registry_auditor.store import Delivery


def delivery(key: str) -> Delivery:
    return Delivery("hook", key, None, datetime.now(UTC))


class Ledger:
    """Takes deliveries, one batch after the other, as soon as it is open."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.batches: list[list[str]] = []

    def accept(self, deliveries: Sequence[Delivery]) -> int:
        assert self.open.wait(10)
        self.batches.append([each.key for each in deliveries])
        if any(each.key == "poison" for each in deliveries):
            raise StoreError("the disk is full")
        return len(deliveries)


def test_what_arrives_while_a_batch_is_written_is_the_next_batch() -> None:
    ledger = Ledger()

    async def arrive() -> None:
        intake = Intake(ledger.accept)
        first = asyncio.create_task(intake.put([delivery("0")]))
        await asyncio.sleep(0.05)
        later = [asyncio.create_task(intake.put([delivery(str(n)), delivery(f"{n}b")])) for n in range(1, 100)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in [first, *later])
        ledger.open.set()
        await asyncio.gather(first, *later)

    asyncio.run(arrive())
    assert [len(batch) for batch in ledger.batches] == [1, 198]


def test_all_of_a_failed_batch_hear_of_it_and_the_next_one_is_tried() -> None:
    ledger = Ledger()
    ledger.open.set()

    async def arrive() -> list[object]:
        intake = Intake(ledger.accept)
        together = [intake.put([delivery("good")]), intake.put([delivery("poison")])]
        failed = await asyncio.gather(*together, return_exceptions=True)
        await intake.put([delivery("later")])
        return list(failed)

    assert [type(outcome) for outcome in asyncio.run(arrive())] == [StoreError, StoreError]
    assert ledger.batches == [["good", "poison"], ["later"]]


def test_a_sender_that_leaves_does_not_take_the_others_along() -> None:
    ledger = Ledger()

    async def arrive() -> None:
        intake = Intake(ledger.accept)
        leaving, staying = (asyncio.create_task(intake.put([delivery(key)])) for key in ("leaving", "staying"))
        await asyncio.sleep(0.05)
        leaving.cancel()
        ledger.open.set()
        await staying
        with pytest.raises(asyncio.CancelledError):
            await leaving

    asyncio.run(arrive())
    assert ledger.batches == [["leaving", "staying"]]
