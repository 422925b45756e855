"""The log of writes: who did what, and whether a request is a repetition."""

from __future__ import annotations

from registry_auditor.store.access import Author, Written
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.records import Page


class Writes(Part):
    """Every change that a person or a program asked for."""

    def list(self, *, limit: int = PAGE, after: str | None = None) -> Page[Written]:
        """Writes, newest first."""
        raise NotImplementedError

    def replayed(self, by: Author) -> Written | None:
        """What this author wrote under the same key; None if nothing. Raises Conflict if it was another request."""
        raise NotImplementedError
