import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from registry_auditor.domain import (
    Audit,
    Author,
    EventKind,
    Finding,
    Job,
    Justification,
    ModelRef,
    Run,
    RunStatus,
    StepKey,
    SubjectKey,
    Triage,
    TriageState,
    Verdict,
)
from registry_auditor.errors import Conflict, NotFound, UsageError
from registry_auditor.store import Store, StoredFinding
from registry_auditor.store.people.standing import of_state
from registry_auditor.store.tables import FindingRow

ALICE, BOB = Author("cli:alice"), Author("token:bob")
IN_TRIAGE = Triage(TriageState.IN_TRIAGE, owner="alice", comment="looking")
FALSE_POSITIVE = Triage(TriageState.FALSE_POSITIVE, comment="a merge, not a backdoor")
NOT_AFFECTED = Triage(TriageState.NOT_AFFECTED, Justification.CODE_NOT_REACHABLE)
SHORT = timedelta(seconds=0.3)

Examine = Callable[..., Audit]


@pytest.fixture
def examine(store: Store, job: Callable[..., Job], run: Callable[..., Run], finding: Finding) -> Examine:
    """A function that audits a revision of a model; its one run has the finding unless told otherwise."""

    def audit(name: str = "org/tuned", revision: str = "3f2a", *, found: bool = True, **changes: Any) -> Audit:
        step = StepKey("svd-diff", changes.pop("version", 1), "params-digest")
        done = changes.pop("done", True)
        submitted = store.submit(job(name, model=ModelRef("hf", name, revision), plan=(step,)))
        subject = SubjectKey(f"{name}@{revision}", "base-digest")
        made = run(step=step, subject=subject, findings=(finding,) if found else ())
        store.save(submitted.id, replace(made, **changes))
        return store.finish(submitted.id, Verdict.PASS, "") if done else submitted

    return audit


def the_finding(store: Store, audit: Audit) -> StoredFinding:
    (found,) = store.findings(audit_id=audit.id).items
    return found


def kinds(store: Store, found: StoredFinding) -> list[EventKind]:
    return [event.kind for event in store.triage.events(found.id)]


def test_the_latest_triage_holds_wherever_the_finding_is_shown(store: Store, examine: Examine) -> None:
    audit = examine()
    found = the_finding(store, audit)
    assert found.standing.state is TriageState.NOT_SET
    assert found.standing.counts
    store.triage.set(found.id, IN_TRIAGE, by=ALICE)
    said = store.triage.set(found.id[:30], FALSE_POSITIVE, by=BOB)
    assert (said.fingerprint, said.triage, said.by) == (found.fingerprint, FALSE_POSITIVE, "token:bob")
    for shown in (store.finding(found.id), the_finding(store, audit), store.runs(audit.id)[0].findings[0]):
        assert shown.standing.opinion == said
        assert not shown.standing.counts
        assert replace(shown, standing=found.standing) == found


def test_triage_survives_a_new_revision_and_a_new_version_of_the_analyzer(store: Store, examine: Examine) -> None:
    said = store.triage.set(the_finding(store, examine()).id, NOT_AFFECTED, by=ALICE)
    later = [examine(), examine(revision="4b5c"), examine(version=2), examine(revision="4b5c", version=3)]
    assert {the_finding(store, audit).standing.opinion for audit in later} == {said}
    other = examine("org/other")
    assert the_finding(store, other).standing.opinion is None


def test_when_a_triage_expires_the_finding_counts_again(store: Store, examine: Examine) -> None:
    found = the_finding(store, examine())
    store.triage.set(found.id, IN_TRIAGE, by=ALICE)
    expiring = replace(FALSE_POSITIVE, expires_at=datetime.now(UTC) + SHORT)
    store.triage.set(found.id, expiring, by=BOB)
    assert not store.finding(found.id).standing.counts
    time.sleep(0.35)
    shown = store.finding(found.id).standing
    assert shown.counts
    assert shown.state is TriageState.NOT_SET  # not what was said before it
    assert shown.opinion is None


def test_a_triage_can_be_taken_back(store: Store, examine: Examine) -> None:
    found = the_finding(store, examine())
    store.triage.set(found.id, FALSE_POSITIVE, by=ALICE)
    store.triage.set(found.id, Triage(TriageState.NOT_SET, comment="it was one"), by=BOB)
    assert store.finding(found.id).standing.counts


@pytest.mark.parametrize(
    ("triage", "problem"),
    [
        (Triage(TriageState.NOT_AFFECTED), "not_affected needs a justification: one of code_not_present"),
        (Triage(TriageState.RESOLVED, Justification.CODE_NOT_PRESENT), "resolved takes no justification"),
        (Triage(TriageState.FALSE_POSITIVE), "false_positive needs a comment"),
        (Triage(TriageState.FALSE_POSITIVE, comment=" \n"), "false_positive needs a comment"),
        (Triage(TriageState.NOT_SET, expires_at=datetime(2100, 1, 1, tzinfo=UTC)), "not_set takes no expiry"),
        (replace(IN_TRIAGE, expires_at=datetime(2020, 1, 1, tzinfo=UTC)), "is past"),
        (replace(IN_TRIAGE, expires_at=datetime(2100, 1, 1)), "no time zone"),  # noqa: DTZ001
    ],
)
def test_a_triage_that_says_too_little_or_too_much_is_refused(
    store: Store, examine: Examine, triage: Triage, problem: str
) -> None:
    found = the_finding(store, examine())
    with pytest.raises(UsageError, match=problem):
        store.triage.set(found.id, triage, by=ALICE)
    assert store.writes.list().items == ()
    assert kinds(store, found) == [EventKind.FOUND]


def test_only_a_finding_that_exists_can_be_triaged(store: Store) -> None:
    with pytest.raises(NotFound, match="there is no finding ffff"):
        store.triage.set("ffff", IN_TRIAGE, by=ALICE)
    with pytest.raises(NotFound):
        store.triage.events("ffff")


def test_what_was_said_is_logged(store: Store, examine: Examine) -> None:
    found = the_finding(store, examine())
    said = store.triage.set(found.id, NOT_AFFECTED, by=ALICE)
    (line,) = store.writes.list().items
    assert (line.by, line.action, line.target) == ("cli:alice", "findings.triage", said.id)
    assert line.detail == {
        "finding": found.id,
        "fingerprint": found.fingerprint,
        "state": "not_affected",
        "justification": "code_not_reachable",
        "owner": None,
        "comment": None,
        "expires_at": None,
    }


def test_the_same_request_again_triages_once(store: Store, examine: Examine) -> None:
    found = the_finding(store, examine())
    author = Author("token:ci", key="k1", request="digest")
    said = store.triage.set(found.id, FALSE_POSITIVE, by=author)
    store.triage.set(found.id, IN_TRIAGE, by=BOB)
    assert store.triage.set(found.id, FALSE_POSITIVE, by=author) == said
    assert store.finding(found.id).standing.state is TriageState.IN_TRIAGE
    with pytest.raises(Conflict):
        store.triage.set(found.id, IN_TRIAGE, by=Author("token:ci", key="k1", request="another digest"))


def test_processes_that_send_the_same_triage_say_it_once(
    store: Store, url: str, banks: str, examine: Examine, at_once: Callable[..., list[str]]
) -> None:
    found = the_finding(store, examine())
    script = """
from registry_auditor.store import Store
from registry_auditor.domain import Author
from registry_auditor.domain import Triage, TriageState
url, banks, finding, number = sys.argv[1:]
with Store.open(url, banks=banks) as store:
    store.finding(finding)
    pause()
    triage = Triage(TriageState.FALSE_POSITIVE, comment="benign")
    print(store.triage.set(finding, triage, by=Author("token:ci", key="k1", request="digest")).id)
"""
    assert len(set(at_once(script, url, banks, found.id))) == 1
    assert kinds(store, found) == [EventKind.FOUND, EventKind.TRIAGED]


def test_the_life_of_a_finding_is_told_from_audits_and_triages(store: Store, examine: Examine) -> None:
    first = examine()
    found = the_finding(store, first)
    expiring = replace(FALSE_POSITIVE, expires_at=datetime.now(UTC) + SHORT)
    said = store.triage.set(found.id, expiring, by=ALICE)
    time.sleep(0.35)
    again = store.triage.set(found.id, IN_TRIAGE, by=BOB)
    second = examine(revision="4b5c")
    third = examine(revision="5d6e", found=False)
    events = store.triage.events(found.id)
    assert [(event.kind, event.by, event.audit, event.opinion) for event in events] == [
        (EventKind.FOUND, None, first.id, None),
        (EventKind.TRIAGED, "cli:alice", None, said),
        (EventKind.EXPIRED, None, None, said),
        (EventKind.TRIAGED, "token:bob", None, again),
        (EventKind.FOUND, None, second.id, None),
        (EventKind.GONE, None, third.id, None),
    ]
    models = {event.audit: event.model for event in events if event.audit}
    assert models == {audit.id: audit.job.model for audit in (first, second, third)}
    assert events == store.triage.events(the_finding(store, second).id)
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_a_triage_that_was_replaced_in_time_does_not_expire(store: Store, examine: Examine) -> None:
    found = the_finding(store, examine())
    store.triage.set(found.id, replace(IN_TRIAGE, expires_at=datetime.now(UTC) + SHORT), by=ALICE)
    store.triage.set(found.id, FALSE_POSITIVE, by=ALICE)
    time.sleep(0.35)
    assert kinds(store, found) == [EventKind.FOUND, EventKind.TRIAGED, EventKind.TRIAGED]


def test_an_audit_that_adopts_a_known_run_adds_nothing(store: Store, examine: Examine) -> None:
    found = the_finding(store, examine())
    examine()
    assert kinds(store, found) == [EventKind.FOUND]
    examine(version=2)
    assert kinds(store, found) == [EventKind.FOUND, EventKind.FOUND]


def test_a_finding_that_went_comes_back_with_the_old_revision(store: Store, examine: Examine) -> None:
    found = the_finding(store, examine())
    examine(revision="4b5c", found=False)
    examine(revision="5d6e", found=False)
    examine()
    assert kinds(store, found) == [EventKind.FOUND, EventKind.GONE, EventKind.FOUND]


@pytest.mark.parametrize(
    "other",
    [
        {"done": False},
        {"status": RunStatus.TIMED_OUT, "reason": "slow"},
        {"name": "org/other"},
        {"step": StepKey("token-projection", 1, "digest")},
    ],
)
def test_a_finding_is_not_gone_where_nobody_looked(store: Store, examine: Examine, other: dict[str, Any]) -> None:
    found = the_finding(store, examine())
    examine(revision="4b5c", found=False, **other)
    assert kinds(store, found) == [EventKind.FOUND]


def test_findings_can_be_chosen_by_their_state(store: Store, examine: Examine) -> None:
    found = [the_finding(store, examine(f"org/{n}")) for n in range(4)]
    store.triage.set(found[0].id, FALSE_POSITIVE, by=ALICE)
    store.triage.set(found[0].id, IN_TRIAGE, by=ALICE)
    store.triage.set(found[1].id, replace(FALSE_POSITIVE, expires_at=datetime.now(UTC) + SHORT), by=ALICE)
    store.triage.set(found[2].id, IN_TRIAGE, by=ALICE)
    store.triage.set(found[2].id, Triage(TriageState.NOT_SET), by=ALICE)
    time.sleep(0.35)

    def chosen(state: TriageState) -> set[str]:
        return store._read(lambda session: set(session.scalars(select(FindingRow.id).where(of_state(session, state)))))

    for state in TriageState:
        assert chosen(state) == {each.id for each in found if store.finding(each.id).standing.state is state}
    assert chosen(TriageState.IN_TRIAGE) == {found[0].id}
    assert len(chosen(TriageState.NOT_SET)) == 3


def test_a_life_is_told_in_a_few_statements_however_long_it_was(
    store: Store, examine: Examine, counted: Callable[..., list[str]]
) -> None:
    found = the_finding(store, examine())
    few = counted(store, lambda: store.triage.events(found.id))
    for n in range(4):
        examine(revision=str(n))
        store.triage.set(found.id, IN_TRIAGE, by=ALICE)
    many = counted(store, lambda: store.triage.events(found.id))
    assert len(few) == len(many) <= 7
