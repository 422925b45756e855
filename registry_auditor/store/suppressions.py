"""Suppressions: rules that take findings out of verdicts and gates, with a reason and an end."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict, Unpack

from registry_auditor.store.access import Author
from registry_auditor.store.opinions import Suppression
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.records import Page


class Rule(TypedDict, total=False):
    """Which findings a suppression covers, and for how long."""

    code: str | None
    model: str | None
    fingerprint: str | None
    reason: str
    owner: str | None
    expires_at: datetime


class Suppressions(Part):
    """Rules that take findings out of verdicts and gates."""

    def add(self, *, by: Author, **rule: Unpack[Rule]) -> Suppression:
        """A new rule. Raises UsageError without pattern, reason or expiry, or with one past or over 180 days ahead."""
        raise NotImplementedError

    def list(self, *, limit: int = PAGE, after: str | None = None, active: bool | None = None) -> Page[Suppression]:
        """Suppressions, newest first; only those that hold now, or only the others."""
        raise NotImplementedError

    def get(self, id_or_prefix: str) -> Suppression:
        """Raises NotFound."""
        raise NotImplementedError

    def end(self, id_or_prefix: str, *, by: Author) -> Suppression:
        """Afterwards it holds no more; its row stays. Raises NotFound."""
        raise NotImplementedError

    def matches(self, id_or_prefix: str) -> int:
        """How many findings it covers, of those that the newest audit of each model shows."""
        raise NotImplementedError
