import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from registry_auditor.domain import Job, Run
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


def test_a_damaged_database_is_named(tmp_path: Path, migrated: Path) -> None:
    file = tmp_path / "audits.db"
    content = bytearray(migrated.read_bytes())
    content[100:20_000] = os.urandom(19_900)
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"audits\.db: .*malformed.*; the file is damaged"):
        check(f"sqlite:///{file}")


def test_a_read_only_database_can_be_read_and_says_why_it_is_not_written(
    tmp_path: Path, migrated: Path, job: JobMaker
) -> None:
    file = tmp_path / "audits.db"
    file.write_bytes(migrated.read_bytes())
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
        store.sightings.record(ModelRef("hf", "org/same"))
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
