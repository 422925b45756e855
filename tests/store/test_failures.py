import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from registry_auditor.domain import AuditState, Job, Run, Verdict
from registry_auditor.errors import StoreError, UsageError
from registry_auditor.store import Store, check, upgrade
from registry_auditor.store.engine import WRITES, connect, failures_of, parse, shown

JobMaker = Callable[..., Job]


def every_way_in(url: str) -> list[Callable[[], object]]:
    return [
        lambda: Store.open(url, banks="memory://banks"),
        lambda: Store.open(url, banks="memory://banks", create=True),
        lambda: check(url),
        lambda: upgrade(url),
    ]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are not the rows you are looking for\n" * 100)
    for way in every_way_in(f"sqlite:///{file}"):
        with pytest.raises(StoreError, match=r"notes\.txt: file is not a database; .*pass another --db"):
            way()
    assert file.read_text().startswith("these are not")


def test_a_damaged_database_is_named(tmp_path: Path, migrated_file: Path) -> None:
    file = tmp_path / "audits.db"
    content = bytearray(migrated_file.read_bytes())
    content[100:20_000] = os.urandom(19_900)
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"audits\.db: .*malformed.*; the file is damaged"):
        check(f"sqlite:///{file}")


def test_a_read_only_database_can_be_read_and_says_why_it_is_not_written(
    tmp_path: Path, migrated_file: Path, job: JobMaker
) -> None:
    file = tmp_path / "audits.db"
    file.write_bytes(migrated_file.read_bytes())
    with Store.open(f"sqlite:///file:{file}?mode=ro&uri=true", banks=str(tmp_path)) as store:
        assert store.audits().items == ()
        with pytest.raises(StoreError, match="readonly database; make the file and its folder writable"):
            store.submit(job())


def test_a_full_disk_is_told_and_nothing_half_written(sqlite_url: str, job: JobMaker, run: Callable[..., Run]) -> None:
    store = Store.open(sqlite_url)
    audit = store.submit(job())

    def small(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count=1")  # SQLite takes the present size: it cannot grow

    sa.event.listen(store._engine, "connect", small)
    store._engine.dispose()
    with pytest.raises(StoreError, match="disk is full; free some disk space"):
        store.save(audit.id, run(params={"long": "x" * 100_000}))
    assert store.runs(audit.id) == []
    store.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make its folder"):
        upgrade(f"sqlite:///{tmp_path}/file/audits.db")


def test_a_folder_in_place_of_a_database_is_named(tmp_path: Path) -> None:
    for way in every_way_in(f"sqlite:///{tmp_path}"):
        with pytest.raises(StoreError, match="unable to open database file; make sure that the folder exists"):
            way()


def test_a_server_that_is_down_is_told_without_the_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for way in every_way_in(f"postgresql://auditor:hunter2@127.0.0.1:{port}/audits?sslpassword=hunter3"):
            with pytest.raises(StoreError) as failure:
                way()
            assert f"postgresql://auditor:***@127.0.0.1:{port}/audits: connection failed" in str(failure.value)
            assert "hunter" not in str(failure.value)


def test_a_missing_server_database_is_told_how_to_make(postgres: str) -> None:
    for way in every_way_in(postgres.replace("/postgres?", "/nowhere?")):
        with pytest.raises(StoreError, match=r'"nowhere" does not exist; .*createdb'):
            way()


def test_a_server_that_restarts_is_found_again(postgres_url: str, postgres: str) -> None:
    store = Store.open(postgres_url, banks="memory://banks")
    assert store.audits().items == ()
    admin = connect(parse(postgres))
    with admin.connect() as connection:
        connection.execute(
            sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": parse(postgres_url).database},
        )
    admin.dispose()
    assert store.audits().items == ()
    store.close()


def test_a_user_without_rights_is_told_to_get_them(postgres_url: str) -> None:
    admin = connect(parse(postgres_url))
    with admin.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS reader"))
        connection.execute(sa.text("CREATE ROLE reader LOGIN"))
    admin.dispose()
    with pytest.raises(StoreError, match=r"permission denied for table .*; grant this user"):
        Store.open(postgres_url.replace("postgres:@", "reader:@"), banks="memory://banks")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("audits.db", "is no database URL: write sqlite:///"),
        ("", "is no database URL"),
        ("mysql://root:hunter2@host/db", r"mysql://root:\*\*\*@host/db: only SQLite and PostgreSQL"),
        ("postgresql://user:hunter2@host:notaport/db", "is no database URL"),
        ("sqlite://", "a database in memory is lost at once"),
        ("sqlite:///:memory:", "a database in memory is lost at once"),
    ],
)
def test_an_address_that_cannot_work_is_a_usage_error(url: str, why: str) -> None:
    for way in every_way_in(url):
        with pytest.raises(UsageError, match=why) as refusal:
            way()
        assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_postgresql_address_uses_the_one_driver(scheme: str) -> None:
    address = parse(f"{scheme}://user:secret@host/db")
    assert address.drivername == "postgresql+psycopg"
    assert shown(address) == "postgresql://user:***@host/db"


def test_errors_of_our_own_sql_are_not_dressed_up(url: str) -> None:
    engine = connect(parse(url))
    with pytest.raises(sa.exc.DBAPIError), failures_of(engine.url), engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO models (id) VALUES (1)"))
    engine.dispose()


def test_writers_wait_for_each_other(store: Store, url: str, banks: str, at_once: Callable[..., list[str]]) -> None:
    script = """
from registry_auditor.domain import Job, ModelRef
from registry_auditor.store import Store
url, banks, number = sys.argv[1:]
with Store.open(url, banks=banks) as store:
    store.audits()
    pause()
    for n in range(10):
        store.record_sighting(ModelRef("hf", "org/same"))
        store.submit(Job(ModelRef("hf", f"org/{number}-{n}")))
"""
    at_once(script, url, banks, processes=3)
    assert len(store.audits(limit=1000).items) == 30


def test_readers_do_not_wait_for_a_writer(store: Store, url: str, job: JobMaker) -> None:
    engine = connect(parse(url))
    with engine.execution_options(**WRITES).begin() as connection:
        connection.execute(sa.text("UPDATE audits SET claims = 0"))
        assert store.audits().items == ()
    engine.dispose()


def terminate(url: str) -> None:
    """End every connection to this database, whatever it does."""
    admin = connect(parse(url))
    with admin.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    admin.dispose()


def before(store: Store, start: str, act: Callable[[], object], *, times: int) -> None:
    """Arrange that `act` is done before each of the next statements that begin so."""
    left = iter(range(times))

    def meanwhile(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(start) and next(left, None) is not None:
            act()

    sa.event.listen(store._engine, "before_cursor_execute", meanwhile)


def test_a_connection_dropped_in_the_middle_of_a_transaction_is_made_anew(postgres_url: str, job: JobMaker) -> None:
    with Store.open(postgres_url, banks="memory://banks") as store:
        audit = store.submit(job())
        before(store, "INSERT INTO notices", lambda: terminate(postgres_url), times=1)
        assert store.finish(audit.id, Verdict.PASS, "nothing found", notify=["chat"]).verdict is Verdict.PASS
        assert len(store.notices().items) == 1


def test_a_connection_dropped_again_is_a_store_error_after_which_the_same_call_works(
    postgres_url: str, job: JobMaker
) -> None:
    with Store.open(postgres_url, banks="memory://banks") as store:
        audit = store.submit(job())
        before(store, "UPDATE audits", lambda: terminate(postgres_url), times=2)
        with pytest.raises(StoreError, match="check that it is reachable"):
            store.claim(audit.id, "worker", lease_s=60)
        assert store.claim(audit.id, "worker", lease_s=60)
        assert store.audit(audit.id).claims == 1


def test_a_writer_that_a_deadlock_costs_its_work_does_it_again(postgres_url: str, job: JobMaker) -> None:
    other = connect(parse(postgres_url))
    rival = other.connect()
    rival.execute(sa.text("SET deadlock_timeout = '1h'"))  # the store finds out, so that the store is the victim
    with Store.open(postgres_url, banks="memory://banks") as store, ThreadPoolExecutor(1) as pool:
        audit = store.submit(job())
        rival.execute(sa.text("LOCK TABLE notices"))

        def cross() -> None:
            blocked.append(pool.submit(rival.execute, sa.text("UPDATE audits SET claims = claims")))
            while not waits(postgres_url, "UPDATE audits SET claims"):
                time.sleep(0.01)

        blocked: list[Future[object]] = []
        before(store, "INSERT INTO notices", cross, times=1)
        closer = pool_closing(blocked, rival)
        assert store.finish(audit.id, Verdict.PASS, "nothing found", notify=["chat"]).verdict is Verdict.PASS
        closer.join()
        assert len(store.notices().items) == 1
    other.dispose()


def pool_closing(blocked: list[Future[object]], rival: sa.Connection) -> threading.Thread:
    """A thread that ends the rival's transaction as soon as the rival got what it waited for."""

    def close() -> None:
        while not blocked:
            time.sleep(0.01)
        blocked[0].result()
        rival.commit()
        rival.close()

    thread = threading.Thread(target=close)
    thread.start()
    return thread


def waits(url: str, start: str) -> bool:
    """Whether a statement that begins so waits for a lock."""
    engine = connect(parse(url))
    with engine.connect() as connection:
        found = connection.execute(
            sa.text("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :start || '%'"),
            {"start": start},
        ).first()
    engine.dispose()
    return found is not None


def test_what_has_no_remedy_is_not_done_twice(store: Store, job: JobMaker) -> None:
    store.submit(job())
    tries: list[None] = []

    def wrong() -> None:
        tries.append(None)
        raise sa.exc.IntegrityError("", {}, Exception("of our own making"))

    before(store, "SELECT", wrong, times=9)
    with pytest.raises(sa.exc.IntegrityError):
        store.audits()
    assert len(tries) == 1


def test_workers_whose_connections_are_dropped_lose_nothing(
    postgres_url: str, banks: str, job: JobMaker, process: Callable[..., object]
) -> None:
    store = Store.open(postgres_url, banks=banks)
    ids = [store.submit(job(f"org/{n}")).id for n in range(30)]
    script = """
from registry_auditor.domain import Queue, Verdict
from registry_auditor.errors import StoreError
from registry_auditor.store import Store
url, banks, worker = sys.argv[1:]
with Store.open(url, banks=banks) as store:
    store.audits()
    pause()
    while True:
        try:
            waiting = store.waiting(Queue.CPU, limit=5)
            if not waiting and not store.backlog()[0].running:
                break
            for audit_id in waiting:
                if store.claim(audit_id, worker, lease_s=1):
                    store.finish(audit_id, Verdict.PASS, worker, notify=["chat"])
        except StoreError:
            pass
"""
    workers = [process(script, postgres_url, banks, str(number)) for number in range(2)]
    for worker in workers:
        worker.wait_until_ready()
    for worker in workers:
        worker.go()
    while any(worker.popen.poll() is None for worker in workers):
        terminate(postgres_url)
        time.sleep(0.02)
    for worker in workers:
        worker.output()
    done = {audit.id for audit in store.audits(limit=100, state=AuditState.DONE).items}
    assert done == set(ids)
    assert sorted(notice.audit for notice in store.notices(limit=100).items) == sorted(ids)
    store.close()
