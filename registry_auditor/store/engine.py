"""One way into SQLite and PostgreSQL: how to connect, when to lock, what a failure means."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError
from sqlalchemy.orm import Session

from registry_auditor.errors import StoreError, UsageError
from registry_auditor.store.columns import to_json

WRITES = {"begin": "BEGIN IMMEDIATE"}
"""Execution options of a connection that writes; PostgreSQL does not care."""
BUSY_TIMEOUT_S = 30
"""How long a writer waits for the one before it; a run is saved in well under a second."""
CONNECT_TIMEOUT_S = 10

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
    "53100": "free some disk space on the server; nothing was half-written",
    "53300": "the server has no connection left: allow more, or run fewer workers",
}
"""By what SQLite calls an error, and by PostgreSQL's SQLSTATE."""

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
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S}
    if url.get_backend_name() == "sqlite":
        options = {"timeout": BUSY_TIMEOUT_S}
    try:
        engine = create_engine(url, connect_args=options, pool_pre_ping=True, json_serializer=to_json)
    except NoSuchModuleError as error:
        raise UsageError(f"--db {shown(url)}: {error}") from error
    except ImportError as error:
        raise UsageError(f"--db {shown(url)}: {error}; run: pip install 'registry-auditor[postgres]'") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_connected)
        event.listen(engine, "begin", _sqlite_begins)
    return engine


def _sqlite_connected(connection: sqlite3.Connection, _record: object) -> None:
    # Left alone, the driver opens a transaction late, and commits it before DDL.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")


def _sqlite_begins(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer, it fails: so a
    # writer takes the lock at its beginning, where the busy timeout applies.
    if begin := connection.get_execution_options().get("begin", "BEGIN"):
        connection.exec_driver_sql(begin)


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one state of the database. Raises StoreError with cause and remedy."""
    with failures_of(engine.url), Session(engine) as session:
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A transaction that commits when its block ends, and not at all if the block raises.

    On SQLite one at a time, the others wait. Raises StoreError with cause and remedy.
    """
    with failures_of(engine.url), Session(engine.execution_options(**WRITES)) as session, session.begin():
        yield session


@contextmanager
def failures_of(url: URL) -> Iterator[None]:
    """Turn what the database `url` refuses into a StoreError; errors of our own SQL pass as they are."""
    try:
        yield
    except DBAPIError as error:
        cause = str(error.orig).strip().replace(url.password or "\0", "***")
        code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
        known, sought = (REMEDIES, code) if code else (REFUSED_CONNECTIONS, cause)
        remedy = next((text for part, text in known.items() if part in sought), None)
        if remedy is None and isinstance(error, IntegrityError | ProgrammingError | DataError):
            raise
        raise StoreError(
            f"database {shown(url)}: {cause}; {remedy or 'check that it is reachable and that --db names it'}"
        ) from error
