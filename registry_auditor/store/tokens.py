"""API tokens: made, ended, and recognised by the hash of their secret."""

from __future__ import annotations

from datetime import datetime

from registry_auditor.store.access import Author, Scope, Token
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.records import Page


class Tokens(Part):
    """Who may use the API."""

    def create(
        self, name: str, scopes: frozenset[Scope], *, expires_at: datetime | None, by: Author
    ) -> tuple[Token, str]:
        """A new token and its secret `ra_<id>_<43 characters>`, which is shown once and not kept.

        Raises UsageError for a name that is empty or taken by a token that is still good, no scope, or a past expiry.
        """
        raise NotImplementedError

    def list(self, *, limit: int = PAGE, after: str | None = None) -> Page[Token]:
        """Tokens, newest first, ended ones included."""
        raise NotImplementedError

    def get(self, token_id: str) -> Token:
        """Raises NotFound."""
        raise NotImplementedError

    def revoke(self, token_id: str, *, by: Author) -> Token:
        """Afterwards the token opens nothing. Raises NotFound."""
        raise NotImplementedError

    def authenticate(self, secret: str) -> Token | None:
        """The token of `secret` if it exists, was not revoked and has not expired. Its use is noted, to a minute."""
        raise NotImplementedError
