"""100,000 queued audits do not slow dispatch: every statement that it sends finds its rows through an index."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from registry_auditor.domain import Job, ModelRef, Queue, Verdict
from registry_auditor.store import Store
from registry_auditor.store.engine import connect, parse

MANY = 100_000
FEW_PAGES = 200
"""What a statement may touch on PostgreSQL, an INSERT in all its indexes; the table has thousands."""

NUMBERS = {
    "sqlite": f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {MANY}) SELECT n FROM s)",
    "postgresql": f"generate_series(1, {MANY}) AS s(n)",
}
COPIES = """
INSERT INTO audits (id, model_id, fail_on, plan, job_digest, queue, state, queued_at, due_at, sent_at, claims)
SELECT 'copy ' || n, model_id, fail_on, plan, 'job ' || n, queue, state, queued_at, due_at, queued_at, claims
FROM audits, """
NOTICES = """
INSERT INTO notices (id, target, audit_id, queued_at, due_at, attempts)
SELECT id, 'chat', id, queued_at, queued_at, 0 FROM audits LIMIT 10000"""


@pytest.fixture
def url(own_url: str) -> str:
    """A database about which the planner knows nothing yet: what it learnt of another test's rows would mislead it."""
    return own_url


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    made = connect(parse(url))
    yield made
    made.dispose()


@pytest.fixture
def crowded(store: Store, engine: sa.Engine) -> Store:
    """A store in which 100,000 audits are with the broker, and a tenth as many notices are due."""
    store.submit(Job(ModelRef("hf", "org/first")))
    with engine.begin() as connection:
        connection.exec_driver_sql(COPIES + NUMBERS[engine.dialect.name])
        connection.exec_driver_sql(NOTICES)
    return store


def dispatch(store: Store, job: Job) -> None:
    """Whatever is done between an upload and a notice."""
    audit, queued = store.ensure(job)
    assert queued
    assert store.ensure(job) == (audit, False)
    assert store.submit(job) == audit
    waiting = store.waiting(Queue.CPU, limit=50, unsent=True)
    assert waiting[-1] == audit.id
    store.sent(waiting)
    assert len(store.waiting(Queue.CPU, limit=50)) == 50
    assert store.claim(audit.id, "worker", lease_s=60, dead="gone")
    assert store.renew(audit.id, "worker", lease_s=60)
    assert store.release(audit.id, "worker")
    assert store.claim(audit.id, "worker", lease_s=60)
    assert store.postpone(audit.id, "worker", delay_s=0, reason="")
    store.finish(audit.id, Verdict.PASS, "", notify=["chat"])
    (notice,) = store.notices.due(limit=1, lease_s=60)
    store.notices.failed(notice.id, "", retry_at=notice.queued_at)
    store.notices.sent(notice.id)


def explained(store: Store, work: Callable[[], object]) -> dict[str, str | None]:
    """The statements that `work` sends, and what is wrong with the plan of each where it was sent."""
    complaints: dict[str, str | None] = {}

    def explain(connection: sa.Connection, cursor: Any, statement: str, parameters: Any, _: object, many: bool) -> None:
        if re.search(r"\b(audits|notices)\b", statement) and not many:
            complaints[statement] = COMPLAINTS[connection.dialect.name](cursor, statement, parameters)

    sa.event.listen(store._engine, "before_cursor_execute", explain)
    work()
    sa.event.remove(store._engine, "before_cursor_execute", explain)
    return complaints


def of_sqlite(cursor: Any, statement: str, parameters: Any) -> str | None:
    steps = [row[-1] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    return next((step for step in steps if re.match("SCAN (audits|notices)|USE TEMP B-TREE", step)), None)


def of_postgresql(cursor: Any, statement: str, parameters: Any) -> str | None:
    cursor.execute("SAVEPOINT explained")
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
    ((plan,),) = cursor.fetchone()
    cursor.execute("ROLLBACK TO explained")
    touched = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return None if touched <= FEW_PAGES else f"touches {touched} pages: {json.dumps(plan)}"


COMPLAINTS = {"sqlite": of_sqlite, "postgresql": of_postgresql}


def look_without_an_index(store: Store) -> None:
    with store._engine.connect() as connection:
        for condition in ("state = 'queued' ORDER BY queued_at LIMIT 1", "holder = 'nobody'"):
            connection.exec_driver_sql(f"SELECT id FROM audits WHERE {condition}")


def test_dispatch_finds_its_rows_through_indexes(crowded: Store, engine: sa.Engine, job: Callable[..., Job]) -> None:
    assert crowded.backlog()[0].waiting == MANY + 1
    for known_to_the_planner in (False, True):
        if known_to_the_planner:
            with engine.begin() as connection:
                connection.exec_driver_sql("ANALYZE")
        asked = job(f"org/{known_to_the_planner}")
        complaints = explained(crowded, lambda asked=asked: dispatch(crowded, asked))
        assert len(complaints) > 15
        assert {statement: complaint for statement, complaint in complaints.items() if complaint} == {}
    assert all(explained(crowded, lambda: look_without_an_index(crowded)).values())


def test_a_count_of_the_backlog_reads_an_index_in_its_order(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        assert list(explained(store, store.backlog).values()) == ["SCAN audits USING COVERING INDEX ix_audits_due"]
