"""From a verdict to its receivers: who hears of it, how often it is tried, and what is never told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from registry_auditor.config import Target
from registry_auditor.domain import (
    Audit,
    Author,
    BaseSource,
    Coverage,
    Finding,
    Job,
    ModelRef,
    Run,
    RunStatus,
    Severity,
    StepKey,
    SubjectKey,
    Verdict,
)
from registry_auditor.errors import UsageError
from registry_auditor.notify import SCHEDULE_S, Terms, due_targets, send_due
from registry_auditor.store import Notice, Store
from registry_auditor.store.banks import BankFolder
from registry_auditor.store.traffic.notices import Notices
from tests.notify.receiving import SECRET, Receiver, answering, silent

STEP = StepKey("svd-diff", 1, "params-digest")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock that stands there makes every next attempt due at once."""
PROMPT = Terms(clock=lambda: LONG_AGO, chance=lambda: 0.0)

Finished = Callable[..., Audit]


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with Store.open(db) as opened:
        yield opened


@pytest.fixture
def finished(store: Store) -> Finished:
    """A function that puts an audit with these findings, announced to `security`, into the store."""
    numbers = iter(range(1000))

    def make(*findings: Finding, verdict: Verdict = Verdict.FAIL, reason: str = "1 finding", **announced: Any) -> Audit:
        model = ModelRef("hf", f"org/tuned-{next(numbers)}", "3f2a")
        audit = store.submit(Job(model, ModelRef("hf", "org/base", "1b2c"), BaseSource.CARD, plan=(STEP,)))
        subject = SubjectKey(audit.id, "base-digest")
        store.save(audit.id, Run(STEP, subject, {}, RunStatus.OK, None, 1.0, "cpu", None, Coverage(3), findings))
        return store.finish(audit.id, verdict, reason, notify=announced.get("notify", ["security"]))

    return make


def finding(severity: Severity, message: str = "a direction was added", fpr: float | None = None) -> Finding:
    return Finding("svd-diff/rank-one-update", severity, message, fpr=fpr)


def only(store: Store) -> Notice:
    (notice,) = store.notices.list(limit=10).items
    return notice


TARGETS = {
    "grave": {"severity": "critical", "incomplete": False},
    "default": {},
    "curious": {"severity": "info", "incomplete": False},
}


@pytest.mark.parametrize(
    ("verdict", "worst", "expected"),
    [
        (Verdict.FAIL, Severity.CRITICAL, ["grave", "default", "curious"]),
        (Verdict.FAIL, Severity.HIGH, ["default", "curious"]),
        (Verdict.PASS, Severity.LOW, ["curious"]),
        (Verdict.PASS, None, []),
        (Verdict.INCOMPLETE, None, ["default"]),
        (Verdict.ERROR, None, ["default"]),
        (Verdict.INCOMPLETE, Severity.LOW, ["default", "curious"]),
    ],
)
def test_a_target_hears_of_what_it_asked_for(verdict: Verdict, worst: Severity | None, expected: list[str]) -> None:
    targets = {
        name: Target.model_validate({"url": "https://hooks.example/", "secret_env": "TOLD"} | given)
        for name, given in TARGETS.items()
    }
    assert due_targets(targets, verdict, worst) == expected


def test_an_audit_is_announced_with_its_worst_findings_and_all_of_them_counted(
    store: Store, finished: Finished, receiver: Receiver
) -> None:
    mild = [finding(Severity.LOW, f"mild {number}") for number in range(6)]
    audit = finished(*mild, finding(Severity.HIGH, "grave", fpr=0.001), finding(Severity.MEDIUM))
    assert send_due(store, {"security": receiver.target()}) == 1
    (payload,) = receiver.verified()
    assert list(payload) == ["schema_version", "type", "timestamp", "data"]
    assert audit.finished_at is not None
    assert payload["type"] == "audit.finished"
    assert payload["timestamp"] == audit.finished_at.isoformat()
    data = payload["data"]
    assert data["counts"] == {"critical": 0, "high": 1, "medium": 1, "low": 6, "info": 0}
    assert [each["severity"] for each in data["worst"]] == ["high", "medium", "low", "low", "low"]
    assert data["worst"][0] == {
        "code": "svd-diff/rank-one-update", "severity": "high", "message": "grave", "fpr": 0.001,
    }  # fmt: skip
    assert {name: data[name] for name in ("audit", "model", "base", "verdict", "reason")} == {
        "audit": audit.id, "model": str(audit.job.model), "base": "hf:org/base@1b2c",
        "verdict": "fail", "reason": "1 finding",
    }  # fmt: skip
    notice = only(store)
    assert (receiver.ids, notice.sent_at is not None, notice.problem) == ([notice.id], True, None)
    assert send_due(store, {"security": receiver.target()}) == 0


def test_what_people_have_set_aside_is_counted_apart(store: Store, finished: Finished, receiver: Receiver) -> None:
    audit = finished(finding(Severity.HIGH, "grave"), finding(Severity.LOW, "mild"))
    grave = next(each for each in store.runs(audit.id)[0].findings if each.finding.severity is Severity.HIGH)
    expires_at = datetime.now(UTC) + timedelta(days=1)
    store.suppressions.add(by=Author("cli:ann"), model=str(grave.model), reason="known", expires_at=expires_at)
    send_due(store, {"security": receiver.target()})
    data = receiver.verified()[0]["data"]
    assert (data["set_aside"], data["worst"], sum(data["counts"].values())) == (2, [], 0)


def test_no_address_of_a_database_no_password_and_no_secret_is_told(
    store: Store, finished: Finished, receiver: Receiver, db: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    finished(verdict=Verdict.ERROR, reason="mlflow:http://me:hunter2@tracking.example is unreachable")
    send_due(store, {"security": receiver.target()})
    sent = "\n".join(f"{headers} {body.decode()}" for headers, body in receiver.arrived)
    assert "mlflow:http://***@tracking.example" in sent
    for secret in ("hunter2", db, Path(db.removeprefix("sqlite:///")).name, SECRET.removeprefix("whsec_")):
        assert secret not in sent
    assert SECRET.removeprefix("whsec_") not in caplog.text


def test_text_of_a_hostile_model_cannot_stop_a_message_or_swell_it(
    store: Store, finished: Finished, receiver: Receiver
) -> None:
    finished(finding(Severity.HIGH, "\x1b]0;pwned\x07 тигр 🐯" * 10_000))
    send_due(store, {"security": receiver.target()})
    assert len(receiver.verified()[0]["data"]["worst"][0]["message"]) == 500
    assert len(receiver.arrived[0][1]) < 20_000


def test_a_receiver_that_fails_is_tried_again_on_schedule_and_given_up_at_its_end(
    store: Store, finished: Finished, receiver: Receiver
) -> None:
    receiver.behaviour = answering(500, b"out of order")
    finished(finding(Severity.HIGH))
    for wait_s in SCHEDULE_S[1:]:
        assert send_due(store, {"security": receiver.target()}, PROMPT) == 1
        notice = only(store)
        assert notice.due_at == LONG_AGO + timedelta(seconds=wait_s)
        assert notice.problem == "answered 500 Internal Server Error: out of order"
    assert send_due(store, {"security": receiver.target()}, PROMPT) == 1
    notice = only(store)
    assert (notice.given_up, notice.attempts) == (True, len(SCHEDULE_S))
    assert (notice.problem or "").endswith("out of order; that was attempt 10, the last")
    assert len(set(receiver.ids)) == 1
    assert len(receiver.ids) == len(SCHEDULE_S)
    assert len({body for _, body in receiver.arrived}) == 1
    assert send_due(store, {"security": receiver.target()}, PROMPT) == 0


@pytest.mark.parametrize(
    ("status", "wait", "chance", "expected_s"),
    [(500, "600", 0.0, 5), (500, "", 1.0, 6), (429, "600", 0.0, 600), (503, "600", 0.5, 660), (429, "1", 0.0, 5),
     (503, "999999999", 0.0, 24 * 3600)],
)  # fmt: skip
def test_the_wait_grows_by_chance_and_with_what_the_receiver_asks_for(
    store: Store, finished: Finished, receiver: Receiver, status: int, wait: str, chance: float, expected_s: float
) -> None:
    receiver.behaviour = answering(status, Retry_After=wait)
    finished(finding(Severity.HIGH))
    send_due(store, {"security": receiver.target()}, Terms(clock=lambda: LONG_AGO, chance=lambda: chance))
    assert only(store).due_at == LONG_AGO + timedelta(seconds=expected_s)


def test_a_receiver_that_is_gone_for_good_is_given_up_at_once(
    store: Store, finished: Finished, receiver: Receiver
) -> None:
    receiver.behaviour = answering(410)
    finished(finding(Severity.HIGH))
    send_due(store, {"security": receiver.target()})
    assert (only(store).given_up, only(store).problem) == (True, "answered 410 Gone")


def test_a_target_that_was_removed_is_given_up_with_that_reason(store: Store, finished: Finished) -> None:
    finished(finding(Severity.HIGH))
    assert send_due(store, {}) == 1
    assert (only(store).given_up, only(store).problem) == (
        True, "there is no target security in the settings any more",
    )  # fmt: skip


def test_an_address_that_is_refused_waits_for_better_settings(
    store: Store, finished: Finished, receiver: Receiver
) -> None:
    finished(finding(Severity.HIGH))
    refused = receiver.target(url=receiver.url.replace("http", "https"), allow_private=[])
    send_due(store, {"security": refused}, PROMPT)
    assert "allow_private" in (only(store).problem or "")
    send_due(store, {"security": receiver.target()}, PROMPT)
    assert only(store).sent_at is not None


def test_a_missing_secret_is_said_before_anything_is_taken(
    store: Store, finished: Finished, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(finding(Severity.HIGH))
    monkeypatch.delenv("TOLD")
    with pytest.raises(UsageError, match=r"notifications\.security.*TOLD"):
        send_due(store, {"security": receiver.target()})
    assert only(store).attempts == 0


def test_a_receiver_that_hangs_keeps_nobody_else_waiting(
    store: Store, finished: Finished, receiver: Receiver, other: Receiver
) -> None:
    receiver.behaviour = silent
    finished(finding(Severity.HIGH), notify=["security", "chat"])
    targets = {"security": receiver.target(), "chat": other.target()}
    assert send_due(store, targets, Terms(timeout_s=1)) == 2
    by_target = {notice.target: notice for notice in store.notices.list(limit=10).items}
    assert by_target["security"].problem == "127.0.0.1 did not answer within 1 s"
    assert by_target["chat"].sent_at is not None


def test_two_senders_at_once_send_each_notice_once(store: Store, finished: Finished, receiver: Receiver) -> None:
    for _ in range(20):
        finished(finding(Severity.HIGH))
    targets: Mapping[str, Target] = {"security": receiver.target()}

    def until_nothing_is_due() -> int:
        return sum(iter(lambda: send_due(store, targets), 0))

    with ThreadPoolExecutor(2) as pool:
        taken = [pool.submit(until_nothing_is_due) for _ in range(2)]
        assert sum(each.result() for each in taken) == 20
    assert sorted(receiver.ids) == sorted(notice.id for notice in store.notices.list(limit=100).items)


class Killed(BaseException):
    """The process died here."""


class DyingNotices(Notices):
    """Notices whose sender dies before it can say what was sent."""

    def sent(self, notice_id: str) -> None:
        raise Killed


class DyingStore(Store):
    """The store of that sender."""

    def __init__(self, engine: Engine, banks: BankFolder) -> None:
        super().__init__(engine, banks)
        self.notices = DyingNotices(engine, banks)


def test_killed_after_the_answer_the_same_message_is_sent_again_under_the_same_id(
    store: Store, finished: Finished, receiver: Receiver, db: str
) -> None:
    finished(finding(Severity.HIGH))
    targets = {"security": receiver.target()}
    with DyingStore.open(db) as dying, pytest.raises(Killed):
        send_due(dying, targets)
    assert send_due(store, targets) == 0  # another sender has it, for all that anybody knows
    with sqlite3.connect(db.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE notices SET due_at = queued_at")  # its lease runs out
    connection.close()
    assert send_due(store, targets) == 1
    first, second = receiver.arrived
    assert first[0]["webhook-id"] == second[0]["webhook-id"] == only(store).id
    assert first[1] == second[1]
