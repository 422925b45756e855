import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from registry_auditor.domain import Author, Scope, Token
from registry_auditor.errors import NotFound, UsageError
from registry_auditor.store import Store
from registry_auditor.store.engine import connect, parse

ALICE = Author("cli:alice")


def make(store: Store, name: str = "ci", *scopes: Scope, expires_at: datetime | None = None) -> tuple[Token, str]:
    return store.tokens.create(name, frozenset(scopes or {Scope.READ}), expires_at=expires_at, by=ALICE)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=0.3)


def test_a_token_is_recognised_by_its_secret(store: Store) -> None:
    token, secret = make(store, " ci ", Scope.READ, Scope.SUBMIT)
    assert (token.name, token.scopes, token.created_by) == ("ci", {Scope.READ, Scope.SUBMIT}, "cli:alice")
    known = store.tokens.authenticate(secret)
    assert known is not None
    assert known.id == token.id
    assert store.tokens.get(token.id[:20]).id == token.id


def test_a_secret_names_its_token_and_has_256_random_bits(store: Store) -> None:
    token, secret = make(store)
    assert re.fullmatch(rf"ra_{token.id}_[A-Za-z0-9_-]{{43}}", secret)
    assert make(store, "other")[1][-43:] != secret[-43:]


def test_no_secret_is_kept(store: Store, url: str) -> None:
    _, secret = make(store)
    engine = connect(parse(url))
    with engine.connect() as connection:
        kept = [
            str(row) for table in ("tokens", "writes") for row in connection.execute(sa.text(f"SELECT * FROM {table}"))
        ]
    engine.dispose()
    assert len(kept) == 2
    assert not any(secret[-43:] in row for row in kept)


def test_nothing_but_the_whole_secret_opens(store: Store) -> None:
    token, secret = make(store)
    other = make(store, "other")[1]
    last = "A" if secret[-1] != "A" else "B"
    for wrong in ("", "ra_", token.id, secret[:-1], secret[:-1] + last, secret + "A", secret.upper(), f" {secret}"):
        assert store.tokens.authenticate(wrong) is None
    assert store.tokens.authenticate(secret[:-43] + other[-43:]) is None
    assert store.tokens.authenticate(f"ra_{'0' * 24}_{secret[-43:]}") is None
    assert store.tokens.authenticate(secret.replace(secret[-1], "\u00e9")) is None


def test_a_revoked_token_opens_nothing_and_stays_in_the_list(store: Store) -> None:
    token, secret = make(store)
    revoked = store.tokens.revoke(token.id, by=ALICE)
    assert revoked.revoked_at is not None
    assert store.tokens.authenticate(secret) is None
    assert store.tokens.revoke(token.id, by=ALICE) == revoked
    assert store.tokens.list().items == (revoked,)
    with pytest.raises(NotFound, match="there is no token ffff"):
        store.tokens.revoke("ffff", by=ALICE)


def test_a_token_opens_until_it_expires(store: Store) -> None:
    _, secret = make(store, expires_at=soon())
    assert store.tokens.authenticate(secret) is not None
    time.sleep(0.35)
    assert store.tokens.authenticate(secret) is None


def test_the_last_use_is_noted_to_a_minute(store: Store, url: str, counted: Callable[..., list[str]]) -> None:
    token, secret = make(store)
    assert token.last_used_at is None
    store.tokens.authenticate(secret)
    first = store.tokens.get(token.id).last_used_at
    assert first is not None
    assert abs(first - datetime.now(UTC)) < timedelta(seconds=5)
    assert len(counted(store, lambda: store.tokens.authenticate(secret))) == 1
    assert store.tokens.get(token.id).last_used_at == first

    engine = connect(parse(url))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE tokens SET last_used_at = '2026-01-01 00:00:00.000000'"))
    engine.dispose()
    store.tokens.authenticate(secret)
    again = store.tokens.get(token.id).last_used_at
    assert again is not None
    assert again >= first


def test_a_token_that_could_not_be_told_apart_or_used_is_refused(store: Store) -> None:
    make(store)
    for name in ("", "  ", "a\nb", "\x1b[31mci", "x" * 101):
        with pytest.raises(UsageError, match="needs a name"):
            make(store, name)
    with pytest.raises(UsageError, match="still good: revoke"):
        make(store)
    with pytest.raises(UsageError, match="has no scope"):
        store.tokens.create("none", frozenset(), expires_at=None, by=ALICE)
    with pytest.raises(UsageError, match="is past"):
        make(store, "late", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(UsageError, match="no time zone"):
        make(store, "naive", expires_at=datetime(2100, 1, 1))  # noqa: DTZ001
    assert len(store.tokens.list().items) == 1


def test_a_name_is_free_again_when_its_token_has_ended(store: Store) -> None:
    token, _ = make(store, "revoked")
    store.tokens.revoke(token.id, by=ALICE)
    make(store, "expired", expires_at=soon())
    time.sleep(0.35)
    assert make(store, "revoked")[0].id != token.id
    assert make(store, "expired")


def test_of_tokens_of_one_name_made_at_the_same_moment_one_is(store: Store) -> None:
    def ask(_: int) -> bool:
        try:
            return bool(make(store))
        except UsageError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1
    assert len(store.tokens.list().items) == 1


def test_tokens_are_listed_newest_first_page_by_page(store: Store) -> None:
    ids = [make(store, f"token {n}")[0].id for n in range(5)]
    first = store.tokens.list(limit=3)
    rest = store.tokens.list(limit=3, after=first.next)
    assert [token.id for token in (*first.items, *rest.items)] == ids[::-1]
    assert rest.next is None
    with pytest.raises(UsageError, match="no place in a list"):
        store.tokens.list(after="nonsense")
    with pytest.raises(NotFound, match="more than one token"):
        store.tokens.get(ids[0][:4])


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ({Scope.READ}, {Scope.READ}),
        ({Scope.TRIAGE}, {Scope.READ, Scope.TRIAGE}),
        ({Scope.SUBMIT}, {Scope.READ, Scope.SUBMIT}),
        ({Scope.ADMIN}, set(Scope)),
    ],
)
def test_a_scope_allows_itself_and_to_read_and_admin_all(scopes: set[Scope], allowed: set[Scope]) -> None:
    now = datetime.now(UTC)
    token = Token("id", "ci", frozenset(scopes), now, "cli:alice", None, None, None)
    assert {scope for scope in Scope if token.allows(scope)} == allowed
