"""The tables of what people say and may do. Rows are added; a token or suppression is ended, not deleted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from registry_auditor.store.tables import List, Object, Tables


class TriageRow(Tables):
    """Something that somebody said about a finding; the latest about a fingerprint holds."""

    __tablename__ = "triages"
    __table_args__ = (Index(None, "fingerprint", "at", "id"), Index(None, "state", "fingerprint"))

    id: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    state: Mapped[str]
    """false_positive"""
    justification: Mapped[str | None]
    owner: Mapped[str | None]
    comment: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    at: Mapped[datetime]
    by: Mapped[str]


class SuppressionRow(Tables):
    """A rule that takes findings out of verdicts and gates until it expires."""

    __tablename__ = "suppressions"

    id: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str | None]
    model: Mapped[str | None]
    fingerprint: Mapped[str | None]
    reason: Mapped[str]
    owner: Mapped[str | None]
    created_at: Mapped[datetime]
    by: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


class TokenRow(Tables):
    """An API token; of its secret only the hash is kept."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    hash: Mapped[str]
    """sha256 of the secret, in hex: a secret of 256 random bits needs no salt and no slow hash."""
    scopes: Mapped[List]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class WriteRow(Tables):
    """The log of writes, which is also how a repeated request is recognised."""

    __tablename__ = "writes"
    __table_args__ = (UniqueConstraint("by", "key"),)  # NULL keys differ

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    by: Mapped[str]
    action: Mapped[str]
    target: Mapped[str]
    detail: Mapped[Object]
    key: Mapped[str | None]
    request: Mapped[str | None]


class AnalyzerRow(Tables):
    """An analyzer that some installation has, with its manual page."""

    __tablename__ = "analyzers"

    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    needs: Mapped[List]
    summary: Mapped[str]
    manual: Mapped[str]
    schema: Mapped[Object]
    seen_at: Mapped[datetime]
