"""Who may do what, and who did what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Scope(StrEnum):
    """What a token is good for."""

    READ = "read"
    TRIAGE = "triage"
    """Triage and suppressions."""
    SUBMIT = "submit"
    """Ask for audits, and cancel them."""
    ADMIN = "admin"
    """Everything, tokens too."""


@dataclass(frozen=True)
class Token:
    """An API token as it may be shown: the secret itself is not kept."""

    id: str
    """The public part of the secret `ra_<id>_…`."""
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To a minute."""

    def allows(self, scope: Scope) -> bool:
        """Whether it may do what needs `scope`: `admin` everything, and each other one also reads."""
        return scope in self.scopes or Scope.ADMIN in self.scopes or (scope is Scope.READ and bool(self.scopes))


@dataclass(frozen=True)
class Author:
    """Who writes, and how a repetition of the same request is recognised."""

    name: str
    """`token:ci`, `cli:alice`, or `local` where nobody needs a token."""
    key: str | None = None
    """The Idempotency-Key of the request: the same author and key write once."""
    request: str | None = None
    """Digest of method, path and body: the same key with another one is a Conflict."""


@dataclass(frozen=True)
class Written:
    """A line of the log of writes."""

    id: str
    at: datetime
    by: str
    action: str
    """`findings.triage`, `audits.submit`, `tokens.create`."""
    target: str
    """Id of what was written."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """JSON: what was said, without secrets."""
