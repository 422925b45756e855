"""The tables of the traffic with the outside: registries that are watched, what they tell us, what we tell others."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from registry_auditor.store.tables import Tables

UNDELIVERED = text("sent_at IS NULL")
"""As a condition, in the very words of the index."""


class WatchedRow(Tables):
    """How far the changes of a registry have been followed."""

    __tablename__ = "watched"

    spec: Mapped[str] = mapped_column("registry", primary_key=True)
    """dir:/models, as it was asked for."""
    cursor: Mapped[str | None]
    plan: Mapped[str | None]
    """Digest of the plan with which its models were queued."""
    polled_at: Mapped[datetime | None]
    full_at: Mapped[datetime | None]
    problem: Mapped[str | None]


class DeliveryRow(Tables):
    """A webhook that we have accepted; it stays until nobody can send it again."""

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("hook", "key"), Index(None, "settled_at", "received_at", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    hook: Mapped[str]
    key: Mapped[str]
    """The same delivery, sent again, has the same."""
    target: Mapped[str | None]
    received_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class NoticeRow(Tables):
    """One finished audit that one target is to hear of; written with the verdict or not at all."""

    __tablename__ = "notices"
    __table_args__ = (
        Index(None, "due_at", "id"),
        Index("ix_notices_undelivered", "id", sqlite_where=UNDELIVERED, postgresql_where=UNDELIVERED),
        Index(None, "target", "id"),
        Index(None, "audit_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    target: Mapped[str]
    """The name of the target in the configuration."""
    audit_id: Mapped[str] = mapped_column(ForeignKey("audits.id"))
    queued_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    """When to try next; NULL once it was sent or given up."""
    attempts: Mapped[int]
    sent_at: Mapped[datetime | None]
    problem: Mapped[str | None]
    """Why the latest attempt failed."""
