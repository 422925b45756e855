from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from registry_auditor.domain import Author, Scope
from registry_auditor.errors import Conflict, UsageError
from registry_auditor.store import Store

READ = frozenset({Scope.READ})
ALICE = Author("cli:alice")


def make(store: Store, name: str, by: Author = ALICE) -> str:
    return store.tokens.create(name, READ, expires_at=None, by=by)[0].id


def test_the_log_tells_who_did_what_newest_first(store: Store) -> None:
    before = datetime.now(UTC)
    end = before + timedelta(days=30)
    token, _ = store.tokens.create("ci", frozenset({Scope.SUBMIT, Scope.READ}), expires_at=end, by=ALICE)
    store.tokens.revoke(token.id, by=Author("token:boss"))
    revoked, created = store.writes.list().items
    assert (created.by, created.action, created.target) == ("cli:alice", "tokens.create", token.id)
    assert created.detail == {"name": "ci", "scopes": ["read", "submit"], "expires_at": end.isoformat()}
    assert (revoked.by, revoked.action, revoked.target) == ("token:boss", "tokens.revoke", token.id)
    assert before <= created.at <= revoked.at <= datetime.now(UTC)


def test_the_log_is_read_page_by_page(store: Store) -> None:
    ids = [make(store, f"token {n}") for n in range(5)]
    first = store.writes.list(limit=3)
    rest = store.writes.list(limit=3, after=first.next)
    assert [written.target for written in (*first.items, *rest.items)] == ids[::-1]
    assert rest.next is None


def test_a_write_that_is_refused_is_not_logged_and_its_key_stays_free(store: Store) -> None:
    author = Author("token:ci", key="k1", request="digest")
    with pytest.raises(UsageError):
        store.tokens.create("", READ, expires_at=None, by=author)
    assert store.writes.list().items == ()
    assert store.writes.replayed(author) is None
    assert make(store, "later", author)


def test_what_is_written_and_its_line_in_the_log_come_together_or_not_at_all(store: Store) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    sa.event.listen(store._engine, "commit", crash)
    with pytest.raises(KeyboardInterrupt):
        make(store, "ci")
    sa.event.remove(store._engine, "commit", crash)
    assert store.tokens.list().items == store.writes.list().items == ()


def test_the_same_request_with_the_same_key_writes_once(store: Store) -> None:
    author = Author("token:ci", key="k1", request="digest")
    assert store.writes.replayed(author) is None
    first, secret = store.tokens.create("one", READ, expires_at=None, by=author)
    assert secret
    assert store.tokens.create("one", READ, expires_at=None, by=author) == (first, "")
    replayed = store.writes.replayed(author)
    assert replayed == store.writes.list().items[0]
    assert len(store.writes.list().items) == len(store.tokens.list().items) == 1


def test_a_key_is_good_for_one_request_of_one_author(store: Store) -> None:
    first = make(store, "one", Author("token:ci", key="k1", request="digest"))
    other = Author("token:ci", key="k1", request="another digest")
    with pytest.raises(Conflict, match="used by token:ci for another request"):
        make(store, "two", other)
    with pytest.raises(Conflict):
        store.writes.replayed(other)
    with pytest.raises(Conflict):
        store.tokens.revoke(first, by=Author("token:ci", key="k1", request="digest"))
    assert make(store, "two", Author("token:other", key="k1", request="another digest"))
    assert make(store, "three") != make(store, "four")  # without a key, nothing is a repetition


def test_of_the_same_request_at_the_same_moment_one_writes_and_all_learn_what(store: Store) -> None:
    author = Author("token:ci", key="k1", request="digest")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: store.tokens.create("one", READ, expires_at=None, by=author), range(8)))
    assert len({token.id for token, _ in made}) == 1
    assert sum(bool(secret) for _, secret in made) == 1
    assert len(store.writes.list().items) == 1


def test_of_different_requests_with_one_key_at_the_same_moment_one_wins(store: Store) -> None:
    def ask(n: int) -> str | None:
        try:
            return make(store, f"token {n}", Author("token:ci", key="k1", request=f"digest {n}"))
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [token for token in pool.map(ask, range(8)) if token]
    assert len(made) == 1
    assert [token.id for token in store.tokens.list().items] == made


def test_processes_that_send_the_same_request_write_once(
    store: Store, url: str, banks: str, at_once: Callable[..., list[str]]
) -> None:
    script = """
from registry_auditor.store import Store
from registry_auditor.domain import Author, Scope
url, banks, number = sys.argv[1:]
with Store.open(url, banks=banks) as store:
    store.writes.list()
    pause()
    author = Author("token:ci", key="k1", request="digest")
    print(store.tokens.create("one", frozenset({Scope.READ}), expires_at=None, by=author)[0].id)
"""
    assert len(set(at_once(script, url, banks))) == 1
    assert len(store.writes.list().items) == 1
