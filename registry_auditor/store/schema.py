"""Does the database fit the code, and how it is made to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, column, func, inspect, select, table
from sqlalchemy.exc import OperationalError

from registry_auditor.errors import SchemaMismatch, StoreError
from registry_auditor.store.engine import BUSY_TIMEOUT_S, WRITES, connect, failures_of, parse, shown, sqlite_file
from registry_auditor.store.tables import Tables  # all of them: `Store` imports the modules that have some

MIGRATIONS = files("registry_auditor.migrations")
"""Where the package lies, installed or not."""
VERSION_TABLE = "registry_auditor_schema"
"""Not Alembic's default, which other programs use for themselves in a shared database."""
MIGRATION_LOCK = 0x7265675F617564
"""Any number, as long as nobody else locks it: this one spells `reg_aud`."""

SPECIAL = ("finding_numbers", "finding_words", "ix_findings_words", "ix_models_beginning")
"""How tables and indexes begin that only one kind of database has: for full text, and for what begins alike."""


class SchemaState(StrEnum):
    """How the schema of a database compares with the code."""

    CURRENT = "current"
    EMPTY = "empty"
    """None of our tables is there."""
    OLDER = "older"
    NEWER = "newer"
    FOREIGN = "foreign"
    """Another program's tables have our names."""


REFUSALS: dict[SchemaState, tuple[type[StoreError], str]] = {
    SchemaState.EMPTY: (SchemaMismatch, "there is no audit database yet; run: registry-auditor db upgrade --db {url}"),
    SchemaState.OLDER: (
        SchemaMismatch,
        "its schema {found} is older than the code's {expected}; run: registry-auditor db upgrade --db {url}",
    ),
    SchemaState.NEWER: (
        SchemaMismatch,
        "its schema {found} is newer than the code's {expected}; "
        "upgrade registry-auditor: pip install --upgrade registry-auditor",
    ),
    SchemaState.FOREIGN: (
        StoreError,
        "it has tables of another program with the names of ours; pass an empty database with --db",
    ),
}


@dataclass(frozen=True)
class Schema:
    """The schema of a database, and the one that the code works with."""

    state: SchemaState
    found: str | None
    expected: str


def revisions() -> tuple[str, ...]:
    """Every schema revision that this code knows, oldest first.

    Read from the file names, so that opening a store does not import Alembic (0.3 s).
    """
    names = [file.name for file in (MIGRATIONS / "versions").iterdir()]
    return tuple(sorted(name.partition("_")[0] for name in names if name[0].isdigit()))


def is_common(name: str | None, _kind: object, _parents: object) -> bool:
    """Whether Alembic is to compare the table or index of this name with the code."""
    return name is None or not name.startswith(SPECIAL)


def check(url: str) -> Schema:
    """Compare the database with the code; creates nothing. Raises StoreError if it cannot be read."""
    address = parse(url)
    file = sqlite_file(address)
    if file is not None and not file.exists():  # to connect would create it
        return Schema(SchemaState.EMPTY, None, revisions()[-1])
    with _connected(address) as engine, failures_of(address), engine.connect() as connection:
        return _compare(connection)


def require(url: str, *, create: bool) -> None:
    """Return if the database fits the code; with `create`, make one where none of our tables is.

    Raises SchemaMismatch, with the command that mends it, or StoreError if the tables are another program's.
    """
    schema = check(url)
    if create and schema.state is SchemaState.EMPTY:
        upgrade(url)
    elif schema.state is not SchemaState.CURRENT:
        raise _refusal(schema, parse(url))


def upgrade(url: str) -> tuple[str | None, str]:
    """Bring the database to the schema of the code, creating it if need be; the revisions before and after.

    All or nothing. Of two processes that call this at once one works, the other waits and finds it done.
    Raises SchemaMismatch if the database is newer, StoreError if its tables are another program's.
    """
    from alembic import command
    from alembic.config import Config

    address = parse(url)
    if file := sqlite_file(address):
        _prepare_folder(file, address)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with _connected(address) as engine, failures_of(address):
        _use_wal(engine)
        with engine.execution_options(**WRITES).begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            before = _compare(connection)
            if before.state in (SchemaState.NEWER, SchemaState.FOREIGN):
                raise _refusal(before, address)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return before.found, before.expected


def _refusal(schema: Schema, address: URL) -> StoreError:
    error, why = REFUSALS[schema.state]
    url = shown(address)
    return error(f"database {url}: " + why.format(url=url, found=schema.found, expected=schema.expected))


def _compare(connection: Connection) -> Schema:
    known = revisions()
    tables = set(inspect(connection).get_table_names())
    found = None
    if VERSION_TABLE in tables:
        found = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    if found is None:
        state = SchemaState.FOREIGN if tables & set(Tables.metadata.tables) else SchemaState.EMPTY
    elif found not in known:
        state = SchemaState.NEWER
    else:
        state = SchemaState.CURRENT if found == known[-1] else SchemaState.OLDER
    return Schema(state, found, known[-1])


@contextmanager
def _connected(address: URL) -> Iterator[Engine]:
    engine = connect(address)
    try:
        yield engine
    finally:
        engine.dispose()


def _prepare_folder(file: Path, address: URL) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"database {shown(address)}: cannot make its folder: {error}; pass another --db") from error


def _use_wal(engine: Engine) -> None:
    """Let readers of an SQLite file read while somebody writes; the file remembers it."""
    if engine.dialect.name == "sqlite":
        # begin="": SQLite cannot change it within a transaction
        with engine.execution_options(begin="").connect() as connection:
            deadline = time.monotonic() + BUSY_TIMEOUT_S
            while connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
                try:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                except OperationalError:  # refused at once, whatever the busy timeout, while another process does it
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
