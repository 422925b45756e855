"""Webhooks that were accepted: each once, however often it is sent, until somebody has looked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from registry_auditor.domain import digest_of
from registry_auditor.store.engine import changed, insert, now, read_in_order
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.records import Delivery
from registry_auditor.store.traffic.tables import DeliveryRow

KEY_CHARACTERS = 255
"""Of a longer key the digest is kept."""


class Deliveries(Part):
    """Accepted webhooks."""

    def accept(self, deliveries: Sequence[Delivery]) -> int:
        """How many of `deliveries` were added: those of a known hook and key are dropped."""
        return self._write(_accept, deliveries)

    def pending(self, limit: int = PAGE) -> list[Delivery]:
        """Deliveries that nobody has settled, oldest first."""
        return self._read(_pending, limit)

    def settle(self, ids: Sequence[int]) -> None:
        """Afterwards nobody needs to look at these deliveries."""
        self._write(_settle, ids)

    def forget(self, before: datetime) -> int:
        """How many deliveries, settled before that time, are gone; one of them, sent again, would be accepted."""
        return self._write(_forget, before)


def _accept(session: Session, deliveries: Sequence[Delivery]) -> int:
    if not deliveries:
        return 0
    statement = insert(session, DeliveryRow).on_conflict_do_nothing().returning(DeliveryRow.id)
    values = [
        {"hook": d.hook, "key": _indexed(d.key), "target": d.target, "received_at": d.received_at}
        # In one order everywhere: two that accept the same deliveries must not wait for each other.
        for d in sorted(deliveries, key=lambda delivery: (delivery.hook, delivery.key))
    ]
    return len(session.scalars(statement, values).all())


def _indexed(key: str) -> str:
    """A sender names its deliveries as it likes; PostgreSQL indexes no text beyond 2,700 bytes."""
    return key if len(key) <= KEY_CHARACTERS else digest_of(key)


def _pending(session: Session, limit: int) -> list[Delivery]:
    read_in_order(session)
    oldest = (DeliveryRow.received_at, DeliveryRow.id)
    unsettled = select(DeliveryRow).where(DeliveryRow.settled_at.is_(None)).order_by(*oldest).limit(limit)
    return [Delivery(row.hook, row.key, row.target, row.received_at, row.id) for row in session.scalars(unsettled)]


def _settle(session: Session, ids: Sequence[int]) -> None:
    these = update(DeliveryRow).where(DeliveryRow.id.in_(ids), DeliveryRow.settled_at.is_(None))
    changed(session, these.values(settled_at=now(session)))


def _forget(session: Session, before: datetime) -> int:
    return changed(session, delete(DeliveryRow).where(DeliveryRow.settled_at < before))
