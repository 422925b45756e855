"""What becomes of a transaction whose connection is dropped, or that a deadlock costs its work."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from registry_auditor.domain import AuditState, Job, Verdict
from registry_auditor.errors import StoreError
from registry_auditor.store import Store
from registry_auditor.store.engine import connect, parse

JobMaker = Callable[..., Job]


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
        assert len(store.notices.list().items) == 1


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
        assert len(store.notices.list().items) == 1
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
            left = store.backlog()[0]
            if not left.waiting and not left.running:
                break
            for audit_id in store.waiting(Queue.CPU, limit=5):
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
    assert sorted(notice.audit for notice in store.notices.list(limit=100).items) == sorted(ids)
    store.close()
