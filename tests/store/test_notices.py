import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from registry_auditor.domain import Audit, AuditState, Job, NoticeState, Verdict
from registry_auditor.errors import NotFound, StoreError
from registry_auditor.store import Store
from registry_auditor.store.engine import connect, parse

JobMaker = Callable[..., Job]


def finished(store: Store, job: Job, *targets: str) -> Audit:
    return store.finish(store.submit(job).id, Verdict.FAIL, "one high finding", notify=targets)


def test_a_finished_audit_has_a_notice_for_each_target_once(store: Store, job: JobMaker) -> None:
    audit = finished(store, job(), "chat", "gate", "chat")
    assert store.finish(audit.id, Verdict.PASS, "too late", notify=["pager"]) == audit
    notices = store.notices.list().items
    assert [(notice.target, notice.audit) for notice in notices] == [("gate", audit.id), ("chat", audit.id)]
    assert all(notice.queued_at == notice.due_at == audit.finished_at for notice in notices)
    assert {(notice.attempts, notice.sent_at, notice.problem, notice.given_up) for notice in notices} == {
        (0, None, None, False)
    }


def test_nobody_hears_of_an_audit_that_names_no_target(store: Store, job: JobMaker) -> None:
    finished(store, job())
    assert store.notices.list().items == ()


def test_a_verdict_and_its_notices_are_written_together_or_not_at_all(store: Store, url: str, job: JobMaker) -> None:
    audit = store.submit(job())
    with pytest.raises(NotFound):
        store.finish("nonsense", Verdict.PASS, "", notify=["chat"])

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    sa.event.listen(store._engine, "commit", crash)
    with pytest.raises(KeyboardInterrupt):
        store.finish(audit.id, Verdict.FAIL, "one high finding", notify=["chat"])
    sa.event.remove(store._engine, "commit", crash)
    assert store.audit(audit.id).state is AuditState.QUEUED
    assert store.notices.list().items == ()

    engine = connect(parse(url))
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE notices RENAME TO elsewhere"))
    with pytest.raises((StoreError, sa.exc.DBAPIError)):
        store.finish(audit.id, Verdict.FAIL, "one high finding", notify=["chat"])
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO notices"))
    engine.dispose()
    assert store.audit(audit.id).state is AuditState.QUEUED


def test_a_notice_that_was_taken_is_due_again_when_its_sender_is_silent(store: Store, job: JobMaker) -> None:
    finished(store, job(), "chat")
    (taken,) = store.notices.due(limit=10, lease_s=0.2)
    assert taken.attempts == 1
    assert store.notices.due(limit=10, lease_s=60) == []
    time.sleep(0.25)
    (again,) = store.notices.due(limit=10, lease_s=60)
    assert (again.id, again.attempts) == (taken.id, 2)


def test_the_oldest_notices_are_taken_first(store: Store, job: JobMaker) -> None:
    audits = [finished(store, job(f"org/{n}"), "chat").id for n in range(5)]
    assert [notice.audit for notice in store.notices.due(limit=2, lease_s=60)] == audits[:2]
    assert [notice.audit for notice in store.notices.due(limit=9, lease_s=60)] == audits[2:]


def test_a_delivered_notice_is_never_due_again(store: Store, job: JobMaker) -> None:
    finished(store, job(), "chat")
    (notice,) = store.notices.due(limit=10, lease_s=0)
    store.notices.failed(notice.id, "connection refused", retry_at=datetime.now(UTC))
    store.notices.sent(notice.id)
    (sent,) = store.notices.list().items
    assert sent.sent_at is not None
    assert (sent.due_at, sent.problem, sent.given_up) == (None, None, False)
    store.notices.failed(notice.id, "a slower sender has seen it fail", retry_at=datetime.now(UTC))
    store.notices.sent(notice.id)
    assert store.notices.list().items == (sent,)
    assert store.notices.due(limit=10, lease_s=60) == []


def test_a_failed_notice_is_tried_later_or_given_up(store: Store, job: JobMaker) -> None:
    finished(store, job(), "chat")
    (notice,) = store.notices.due(limit=10, lease_s=60)
    later = datetime.now(UTC) + timedelta(hours=1)
    store.notices.failed(notice.id, "connection refused", retry_at=later)
    (failed,) = store.notices.list().items
    assert (failed.due_at, failed.problem, failed.attempts, failed.given_up) == (later, "connection refused", 1, False)
    assert store.notices.due(limit=10, lease_s=60) == []
    store.notices.failed(notice.id, "410 Gone", retry_at=None)
    (given_up,) = store.notices.list().items
    assert (given_up.due_at, given_up.problem, given_up.given_up) == (None, "410 Gone", True)
    assert store.notices.due(limit=10, lease_s=60) == []


def test_notices_are_listed_by_target_and_state_a_page_at_a_time(store: Store, job: JobMaker) -> None:
    for n in range(3):
        finished(store, job(f"org/{n}"), "chat", "gate")
    everything = store.notices.list().items
    first, second = everything[:2]
    store.notices.sent(first.id)
    store.notices.failed(second.id, "410 Gone", retry_at=None)
    assert [n.id for n in store.notices.list(state=NoticeState.SENT).items] == [first.id]
    assert [n.id for n in store.notices.list(state=NoticeState.GIVEN_UP).items] == [second.id]
    assert store.notices.list(state=NoticeState.WAITING).items == everything[2:]
    assert {n.target for n in store.notices.list(target="gate").items} == {"gate"}
    page, found = store.notices.list(limit=2, target="chat"), 0
    while True:
        found += len(page.items)
        if page.next is None:
            break
        page = store.notices.list(limit=2, target="chat", after=page.next)
    assert found == 3


def test_processes_that_send_never_take_the_same_notice(
    store: Store, url: str, banks: str, job: JobMaker, at_once: Callable[..., list[str]]
) -> None:
    for n in range(20):
        finished(store, job(f"org/{n}"), "chat", "gate")
    script = """
from registry_auditor.store import Store
with Store.open(sys.argv[1], banks=sys.argv[2]) as store:
    store.notices.list()
    pause()
    while notices := store.notices.due(limit=3, lease_s=60):
        print(*[notice.id for notice in notices])
"""
    taken = [set(output.split()) for output in at_once(script, url, banks)]
    assert taken[0] & taken[1] == set()
    assert taken[0] | taken[1] == {notice.id for notice in store.notices.list(limit=100).items}
