"""One way into SQLite and PostgreSQL: how to connect, when to lock, what a failure means."""

from __future__ import annotations

import random
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    CursorResult,
    Engine,
    Select,
    create_engine,
    event,
    func,
    literal,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Session

from registry_auditor.domain import digest_of
from registry_auditor.errors import StoreError, UsageError
from registry_auditor.store.columns import UtcDateTime, to_json

if TYPE_CHECKING:
    import psycopg

P = ParamSpec("P")
T = TypeVar("T")

WRITES = {"begin": "BEGIN IMMEDIATE"}
"""Execution options of a connection that writes; PostgreSQL does not care."""
BUSY_TIMEOUT_S = 30
"""How long a writer waits for the one before it; a run is saved in well under a second."""
CONNECT_TIMEOUT_S = 10

INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}

REMEDIES = {
    "SQLITE_NOTADB": "the file is something else: pass another --db",
    "SQLITE_CORRUPT": "the file is damaged: restore a copy, or move it away and audit again",
    "SQLITE_READONLY": "make the file and its folder writable, or pass another --db",
    "SQLITE_CANTOPEN": "make sure that the folder exists and that this user may write to it",
    "SQLITE_FULL": "free some disk space and try again; nothing was half-written",
    "SQLITE_IOERR": "check the disk and its free space; network file systems cannot hold an SQLite database",
    "SQLITE_BUSY": "another process keeps it locked: end that one, or try again",
    "25006": "the server only reads (a standby, perhaps): pass the address of the primary",
    "42501": "grant this user the right to read and write the tables",
    "40001": "others write the same rows: try again",
    "40P01": "others write the same rows: try again",
    "53100": "free some disk space on the server; nothing was half-written",
    "53300": "the server has no connection left: allow more, or run fewer workers",
}
"""By what SQLite calls an error, and by PostgreSQL's SQLSTATE."""

CONFLICTS = ("40001", "40P01")
"""Serialization failure and deadlock: nothing was done, and a later attempt meets nobody."""
PAUSE_S = 0.2
"""About how long the loser of a conflict waits: one that comes back at once meets the winner before it is done."""

REFUSED_CONNECTIONS = {
    "authentication failed": "check the user and the password",
    "does not exist": "create it first: createdb for a database, createuser for a role",
    "too many": "allow the server more connections, or run fewer workers",
}
"""By a part of the message: what fails while connecting has no SQLSTATE."""


def parse(url: str) -> URL:
    """The address of a database, with the driver that we use for it.

    Raises UsageError if it is none, or of a kind other than SQLite and PostgreSQL.
    """
    example = "write sqlite:///path/to/file.db or postgresql://user@host/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError(f"--db is no database URL: {example}") from None
    driver = DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        raise UsageError(f"--db {shown(parsed)}: only SQLite and PostgreSQL are supported; {example}")
    if driver == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UsageError(f"--db {url}: a database in memory is lost at once; {example}")
    return parsed.set(drivername=driver)


def shown(url: URL) -> str:
    """`url` as a message or a log may hold it: no password, no options."""
    return url.set(query={}, drivername=url.get_backend_name()).render_as_string(hide_password=True)


def without_password(url: str) -> str:
    """`url`, of a database or of bank files, with its password and secrets starred out."""
    return re.sub(r"(?<=:)[^:/@]+(?=@)|(?<=password=)[^&]+|(?<=secret=)[^&]+", "***", url)


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database; None for PostgreSQL."""
    if url.get_backend_name() != "sqlite":
        return None
    return Path((url.database or "").removeprefix("file:"))


def connect(url: URL) -> Engine:
    """An engine for `url`; nothing is opened yet. Raises UsageError if the driver is not installed."""
    options: dict[str, Any] = {
        "isolation_level": "READ COMMITTED",
        "connect_args": {"connect_timeout": CONNECT_TIMEOUT_S},
    }
    if url.get_backend_name() == "sqlite":
        options = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    try:
        engine = create_engine(url, json_serializer=to_json, **options)
    except NoSuchModuleError as error:
        raise UsageError(f"--db {shown(url)}: {error}") from error
    except ImportError as error:
        raise UsageError(f"--db {shown(url)}: {error}; run: pip install 'registry-auditor[postgres]'") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_connected)
        event.listen(engine, "begin", _sqlite_begins)
    else:
        event.listen(engine, "connect", _postgresql_connected)
    return engine


def _postgresql_connected(connection: psycopg.Connection, _record: object) -> None:
    # To compile a plan takes longer than to carry it out: we ask for pages, not for reports.
    connection.autocommit = True
    connection.execute("SET jit = off")
    connection.autocommit = False


def _sqlite_connected(connection: sqlite3.Connection, _record: object) -> None:
    # Left alone, the driver opens a transaction late, and commits it before DDL.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")


def _sqlite_begins(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer, it fails: so a
    # writer takes the lock at its beginning, where the busy timeout applies.
    if begin := connection.get_execution_options().get("begin", "BEGIN"):
        connection.exec_driver_sql(begin)


def transact(engine: Engine, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns; what it does commits as one, and not at all if it raises.

    It is done once more if the server has dropped the connection, or has chosen it to lose a conflict. On SQLite
    one writer works at a time, the others wait. Raises StoreError with cause and remedy.
    """
    with failures_of(engine.url):
        try:
            return _transaction(engine, work, *args, **kwargs)
        except DBAPIError as error:
            if not (error.connection_invalidated or _code(error) in CONFLICTS):
                raise
        time.sleep(random.uniform(0.5, 1.5) * PAUSE_S)
        return _transaction(engine, work, *args, **kwargs)


def _transaction(engine: Engine, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    with Session(engine) as session, session.begin():
        return work(session, *args, **kwargs)


def now(session: Session) -> datetime:
    """The time. It is the server's: of two machines, one that is slow must not find due audits to be early."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    return session.scalars(select(clock(session))).one()


def clock(session: Session) -> ColumnElement[datetime]:
    """The time of `now`, as part of a statement."""
    if session.get_bind().dialect.name == "sqlite":
        return literal(datetime.now(UTC), UtcDateTime())
    return func.clock_timestamp(type_=UtcDateTime())


def alone(session: Session, *what: str) -> None:
    """Wait for other transactions that have said the same; until this one ends, others that say it wait.

    On SQLite one writer works at a time as it is.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(int(digest_of(what)[:15], 16))))


def read_in_order(session: Session) -> None:
    """From now on in this transaction, a sorted list that an index holds is read from it and no further than needed.

    PostgreSQL, when it has not noticed yet that a table has grown, would rather fetch all of it and sort.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL enable_bitmapscan = off"))


def one_by_one(found: Select[Any]) -> ColumnElement[bool]:
    """Whether there is what `found`, which is about a row, asks for: asked of those rows that a list comes to.

    PostgreSQL would rather compute it for all rows at once, though a page needs few.
    """
    return found.offset(0).exists()


def insert(session: Session, table: type[DeclarativeBase]) -> Any:
    """An INSERT that can be told what to do on a conflict, which plain SQL cannot."""
    return INSERT[session.get_bind().dialect.name](table)


def changed(session: Session, statement: Any) -> int:
    """How many rows an UPDATE or DELETE has met."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


@contextmanager
def failures_of(url: URL) -> Iterator[None]:
    """Turn what the database `url` refuses into a StoreError; errors of our own SQL pass as they are."""
    try:
        yield
    except DBAPIError as error:
        cause = str(error.orig).strip().replace(url.password or "\0", "***")
        code = _code(error)
        known, sought = (REMEDIES, code) if code else (REFUSED_CONNECTIONS, cause)
        remedy = next((text for part, text in known.items() if part in sought), None)
        if remedy is None and isinstance(error, IntegrityError | ProgrammingError | DataError):
            raise
        raise StoreError(
            f"database {shown(url)}: {cause}; {remedy or 'check that it is reachable and that --db names it'}"
        ) from error


def _code(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
