"""API tokens: made, ended, and recognised by the hash of their secret."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from registry_auditor.domain import Author, Scope, Token
from registry_auditor.errors import StoreError, UsageError
from registry_auditor.store.cursors import cursor, place
from registry_auditor.store.engine import alone, changed, clock, now
from registry_auditor.store.ids import uuid7
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.people.tables import TokenRow
from registry_auditor.store.people.writes import repeated, require_ahead, written
from registry_auditor.store.read import page, single
from registry_auditor.store.records import Page

logger = logging.getLogger(__name__)

ID_DIGITS = 24
"""Of a UUIDv7: the time, so that ids sort by age, and 30 random bits."""
SECRET = re.compile(rf"ra_([0-9a-f]{{{ID_DIGITS}}})_[A-Za-z0-9_-]{{43}}")
LONGEST_NAME = 100
NOTED = timedelta(minutes=1)
"""How exactly the last use is known: a row is not written for every request."""


class Tokens(Part):
    """Who may use the API."""

    def create(
        self, name: str, scopes: frozenset[Scope], *, expires_at: datetime | None, by: Author
    ) -> tuple[Token, str]:
        """A new token and its secret `ra_<id>_<43 characters>`, which is shown once and not kept.

        Raises UsageError for a name that is empty or taken by a token that is still good, no scope, or a past expiry.
        For a repetition of the same request the secret is ''.
        """
        return self._write(_create, name.strip(), scopes, expires_at=expires_at, by=by)

    def list(self, *, limit: int = PAGE, after: str | None = None) -> Page[Token]:
        """Tokens, newest first, ended ones included."""
        return self._read(_tokens, limit=limit, after=after)

    def get(self, token_id: str) -> Token:
        """The token of this id, or of its first characters. Raises NotFound."""
        return self._read(lambda session: _token(_row(session, token_id)))

    def revoke(self, token_id: str, *, by: Author) -> Token:
        """Afterwards the token opens nothing. Raises NotFound."""
        return self._write(_revoke, token_id, by=by)

    def authenticate(self, secret: str) -> Token | None:
        """The token of `secret` if it exists, was not revoked and has not expired. Its use is noted, to a minute."""
        known = self._read(_recognised, secret)
        if known is None:
            return None
        if known.unnoted:
            try:
                self._write(_note, known.token.id)
            except StoreError as error:  # a busy or read-only database can still say who somebody is
                logger.warning("the use of token %s could not be noted: %s", known.token.name, error)
        return known.token


class _Recognised(NamedTuple):
    token: Token
    unnoted: bool


def _create(
    session: Session, name: str, scopes: frozenset[Scope], *, expires_at: datetime | None, by: Author
) -> tuple[Token, str]:
    if before := repeated(session, by, "tokens.create"):
        return _token(_row(session, before)), ""
    if not (name and name.isprintable() and len(name) <= LONGEST_NAME):
        raise UsageError(f"a token needs a name of at most {LONGEST_NAME} printable characters, such as ci")
    if not scopes:
        raise UsageError(f"token {name!r} has no scope: give it one of {', '.join(Scope)}")
    time = now(session)
    if expires_at is not None:
        require_ahead(expires_at, time)
    alone(session, "tokens.create", name)
    if taken := session.scalar(select(TokenRow.id).where(TokenRow.name == name, *_good(time))):
        raise UsageError(f"there is a token {name!r} that is still good: revoke {taken} first, or take another name")
    token_id = uuid7().replace("-", "")[:ID_DIGITS]
    secret = f"ra_{token_id}_{secrets.token_urlsafe(32)}"
    row = TokenRow(
        id=token_id,
        name=name,
        hash=_hash(secret),
        scopes=sorted(scopes),
        created_at=time,
        created_by=by.name,
        expires_at=expires_at,
    )
    session.add(row)
    detail = {"name": name, "scopes": sorted(scopes), "expires_at": expires_at}
    written(session, by, "tokens.create", target=token_id, detail=detail)
    return _token(row), secret


def _tokens(session: Session, *, limit: int, after: str | None) -> Page[Token]:
    statement = select(TokenRow).order_by(TokenRow.id.desc()).limit(limit + 1)
    if after is not None:
        statement = statement.where(TokenRow.id < place(after, "tokens", str)[0])
    found = [_token(row) for row in session.scalars(statement)]
    return page(found, limit, lambda item: cursor("tokens", item.id))


def _revoke(session: Session, token_id: str, *, by: Author) -> Token:
    if before := repeated(session, by, "tokens.revoke"):
        return _token(_row(session, before))
    row = _row(session, token_id)
    session.refresh(row, with_for_update=True)
    if row.revoked_at is None:
        row.revoked_at = written(session, by, "tokens.revoke", target=row.id, detail={"name": row.name})
        session.flush()
    return _token(row)


def _recognised(session: Session, secret: str) -> _Recognised | None:
    parts = SECRET.fullmatch(secret)
    if parts is None:
        return None
    found = session.execute(select(TokenRow, clock(session)).where(TokenRow.id == parts[1])).one_or_none()
    if found is None:
        return None
    row, time = found
    good = row.revoked_at is None and (row.expires_at is None or time < row.expires_at)
    if not (hmac.compare_digest(row.hash, _hash(secret)) and good):
        return None
    return _Recognised(_token(row), row.last_used_at is None or time - row.last_used_at >= NOTED)


def _note(session: Session, token_id: str) -> None:
    time = now(session)
    unnoted = or_(TokenRow.last_used_at.is_(None), TokenRow.last_used_at <= time - NOTED)
    changed(session, update(TokenRow).where(TokenRow.id == token_id, unnoted).values(last_used_at=time))


def _good(time: datetime) -> tuple[ColumnElement[bool], ...]:
    return TokenRow.revoked_at.is_(None), or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > time)


def _row(session: Session, token_id: str) -> TokenRow:
    begins = TokenRow.id.startswith(_digits(token_id), autoescape=True)
    found = session.scalars(select(TokenRow).where(begins).limit(2)).all()
    return single(found, "token", token_id[:100])


def _digits(token_id: str) -> str:
    digits = token_id.strip().lower()
    if not digits or set(digits) - set("0123456789abcdef"):
        raise UsageError(f"{token_id[:100]!r} is no id of a token: give the one that `tokens list` printed")
    return digits


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        scopes=frozenset(Scope(scope) for scope in row.scopes),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
