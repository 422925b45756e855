import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from registry_auditor.domain import (
    Author,
    EventKind,
    Finding,
    Job,
    ModelRef,
    Run,
    SubjectKey,
    Suppression,
    Triage,
    TriageState,
    Verdict,
)
from registry_auditor.errors import Conflict, NotFound, UsageError
from registry_auditor.store import Store, StoredFinding
from registry_auditor.store.people.standing import counting, covers
from registry_auditor.store.tables import AuditRow, FindingRow, ModelRow, RunRow

ALICE, BOB = Author("cli:alice"), Author("token:bob")
SHORT = timedelta(seconds=0.3)


def ahead(days: float = 30) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def add(store: Store, by: Author = ALICE, **rule: Any) -> Suppression:
    return store.suppressions.add(by=by, **{"reason": "known", "expires_at": ahead(), **rule})


@pytest.fixture
def examine(
    store: Store, job: Callable[..., Job], run: Callable[..., Run], finding: Finding
) -> Callable[..., list[StoredFinding]]:
    """A function that audits a revision of a model in which there are findings of these codes."""

    def audit(name: str = "org/tuned", *codes: str, revision: str = "3f2a") -> list[StoredFinding]:
        submitted = store.submit(job(name, model=ModelRef("hf", name, revision)))
        findings = tuple(replace(finding, code=code) for code in codes or (finding.code,))
        store.save(submitted.id, run(subject=SubjectKey(f"{name}@{revision}", None), findings=findings))
        store.finish(submitted.id, Verdict.PASS, "")
        return list(store.runs(submitted.id)[0].findings)

    return audit


def again(store: Store, found: list[StoredFinding]) -> list[bool]:
    """Whether each of them counts now."""
    return [store.finding(each.id).standing.counts for each in found]


Examine = Callable[..., list[StoredFinding]]


def test_a_rule_takes_out_what_fits_all_of_its_patterns(store: Store, examine: Examine) -> None:
    found = [*examine("org/a", "svd-diff/one", "other/one"), *examine("org/b", "svd-diff/one")]
    rule = add(store, code="svd-diff/*", model="hf:org/a", owner=" alice ")
    assert (rule.owner, rule.by, rule.ended_at) == ("alice", "cli:alice", None)
    assert again(store, found) == [False, True, True]
    assert store.finding(found[0].id).standing.suppression == rule
    assert store.finding(found[0].id).standing.state is TriageState.NOT_SET
    add(store, fingerprint=found[2].fingerprint)
    assert again(store, found) == [False, True, False]


def test_a_rule_for_a_fingerprint_follows_the_finding_into_later_revisions(store: Store, examine: Examine) -> None:
    (first,) = examine()
    add(store, fingerprint=first.fingerprint)
    assert [each.standing.counts for each in examine(revision="4b5c")] == [False]


def test_a_rule_may_name_one_revision(store: Store, examine: Examine) -> None:
    add(store, model="hf:org/tuned@3f2a")
    assert [each.standing.counts for each in (*examine(), *examine(revision="4b5c"))] == [False, True]


def test_of_rules_that_fit_the_one_that_holds_longest_is_told(store: Store, examine: Examine) -> None:
    found = examine()
    rules = [add(store, code="svd-diff/*", expires_at=ahead(days)) for days in (2, 9, 5)]
    assert store.finding(found[0].id).standing.suppression == rules[1]


def test_an_ended_rule_and_one_that_has_expired_cover_nothing(store: Store, examine: Examine) -> None:
    found = examine()
    ended = add(store, code="svd-diff/*")
    assert again(store, found) == [False]
    done = store.suppressions.end(ended.id[:30], by=BOB)
    assert (done.ended_by, done.ended_at is not None) == ("token:bob", True)
    assert store.suppressions.end(ended.id, by=ALICE) == done == store.suppressions.get(ended.id)
    assert again(store, found) == [True]
    expired = add(store, code="svd-diff/*", expires_at=datetime.now(UTC) + SHORT)
    assert again(store, found) == [False]
    time.sleep(0.35)
    assert again(store, found) == [True]
    assert store.suppressions.end(expired.id, by=BOB).ended_at is None  # it had ended by itself
    holding = add(store, code="other/*")
    assert store.suppressions.list(active=True).items == (holding,)
    assert [rule.id for rule in store.suppressions.list(active=False).items] == [expired.id, ended.id]
    assert len(store.suppressions.list().items) == 3


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({}, "needs something that it covers"),
        ({"code": "", "model": None}, "needs something that it covers"),
        ({"code": "*", "model": "**?"}, r"'\*' is all"),
        ({"fingerprint": "abc"}, "no fingerprint"),
        ({"code": "x/*", "reason": " "}, "needs a reason"),
        ({"code": "x/*", "expires_at": None}, "needs an expiry"),
        ({"code": "x/*", "expires_at": ahead(-1)}, "is past"),
        ({"code": "x/*", "expires_at": ahead(181)}, "at most 180 days"),
        ({"code": "x/*", "expires_at": datetime(2100, 1, 1)}, "no time zone"),  # noqa: DTZ001
    ],
)
def test_a_rule_without_pattern_reason_or_near_end_is_refused(store: Store, rule: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        add(store, **rule)
    assert store.suppressions.list().items == store.writes.list().items == ()


def test_rules_are_found_by_the_beginning_of_their_id_and_listed_page_by_page(store: Store) -> None:
    rules = [add(store, code=f"x/{n}") for n in range(5)]
    first = store.suppressions.list(limit=3)
    rest = store.suppressions.list(limit=3, after=first.next)
    assert [*first.items, *rest.items] == rules[::-1]
    assert rest.next is None
    with pytest.raises(NotFound, match="more than one suppression"):
        store.suppressions.get(rules[0].id[:4])
    with pytest.raises(NotFound, match="there is no suppression ffff"):
        store.suppressions.end("ffff", by=ALICE)


def test_who_added_and_ended_a_rule_is_logged(store: Store) -> None:
    rule = add(store, code="svd-diff/*")
    store.suppressions.end(rule.id, by=BOB)
    ended, added = store.writes.list().items
    assert (added.by, added.action, added.target) == ("cli:alice", "suppressions.add", rule.id)
    assert added.detail["expires_at"] == rule.expires_at.isoformat()
    assert (added.detail["code"], added.detail["reason"]) == ("svd-diff/*", "known")
    assert (ended.by, ended.action, ended.target) == ("token:bob", "suppressions.end", rule.id)


def test_of_the_same_request_at_the_same_moment_one_adds_the_rule(store: Store) -> None:
    author = Author("token:ci", key="k1", request="digest")
    with ThreadPoolExecutor(6) as pool:
        added = set(pool.map(lambda _: add(store, author, code="svd-diff/*"), range(6)))
    assert store.suppressions.list().items == tuple(added)
    with pytest.raises(Conflict):
        add(store, replace(author, request="another digest"), code="svd-diff/*")


def test_rules_are_part_of_the_life_of_the_findings_that_they_cover(store: Store, examine: Examine) -> None:
    early = add(store, code="svd-diff/*")
    gone = add(store, code="svd-diff/*")
    store.suppressions.end(gone.id, by=ALICE)
    (found,) = examine()
    late = add(store, model="hf:org/*", expires_at=datetime.now(UTC) + SHORT)
    store.suppressions.end(early.id, by=BOB)
    add(store, model="hf:elsewhere/*")
    time.sleep(0.35)
    events = store.triage.events(found.id)
    assert [(event.kind, event.suppression and event.suppression.id, event.by) for event in events] == [
        (EventKind.FOUND, None, None),
        (EventKind.SUPPRESSED, early.id, "cli:alice"),
        (EventKind.SUPPRESSED, late.id, "cli:alice"),
        (EventKind.UNSUPPRESSED, early.id, "token:bob"),
        (EventKind.EXPIRED, late.id, None),
    ]


def test_a_rule_counts_what_it_covers_in_the_newest_audits(store: Store, examine: Examine) -> None:
    examine("org/a", "svd-diff/one", "svd-diff/two")
    examine("org/a", "svd-diff/two", "other/one", revision="4b5c")
    examine("org/b", "svd-diff/two")
    rule = add(store, code="svd-diff/*")
    assert store.suppressions.matches(rule.id) == 2
    assert store.suppressions.matches(add(store, code="svd-diff/one").id) == 0
    assert store.suppressions.matches(add(store, model="hf:org/a@3f2a").id) == 0
    assert store.suppressions.matches(add(store, model="hf:org/a").id) == 2


def test_rules_that_cover_nothing_any_more_are_idle(store: Store, examine: Examine) -> None:
    examine("org/a", "svd-diff/one")
    used, unused = add(store, code="svd-diff/one"), add(store, code="svd-diff/two")
    assert store.suppressions.idle(added_before=ahead()) == (unused,)
    assert store.suppressions.idle(added_before=unused.created_at) == ()
    examine("org/a", "svd-diff/two", revision="4b5c")
    assert store.suppressions.idle(added_before=ahead()) == (used,)


PATTERNS = [
    "hf:*",
    "hf:org/*",
    "hf:org/a",
    "hf:org/a@3f2a",
    "*@3f2a",
    "*/a?b",
    "*a_b",
    "*[x]",
    "[h]f:*",
    "*%",
    "HF:*",
    "*\\*",
]
NAMES = ["org/a", "org/A", "org/a_b", "org/axb", "org/[x]", "100%", "back\\slash", "new\nline"]


@pytest.mark.parametrize("column", ["model", "code"])
def test_the_database_and_the_program_read_patterns_alike(store: Store, examine: Examine, column: str) -> None:
    found = [each for name in NAMES for each in examine(name, f"hf:{name}@3f2a", "x/y")]
    for pattern in PATTERNS:
        rule = add(store, code=None if column == "model" else pattern, model=pattern if column == "model" else "hf:*")

        def chosen() -> set[str]:
            def of(session: Any) -> set[str]:
                statement = (
                    select(FindingRow.id)
                    .join(RunRow, RunRow.id == FindingRow.run_id)
                    .join(AuditRow, AuditRow.id == RunRow.audit_id)
                    .join(ModelRow, ModelRow.id == AuditRow.model_id)
                )
                return set(session.scalars(statement.where(counting(session))))

            return store._read(of)

        counts = {each.id for each in found if not covers(rule, each)}
        assert chosen() == counts, pattern
        assert {each.id for each in found if store.finding(each.id).standing.counts} == counts, pattern
        store.suppressions.end(rule.id, by=ALICE)


def test_dismissed_findings_do_not_count_in_the_database_either(store: Store, examine: Examine) -> None:
    found = examine("org/a", "x/1", "x/2", "x/3")
    store.triage.set(found[0].id, Triage(TriageState.RESOLVED), by=ALICE)
    store.triage.set(found[1].id, Triage(TriageState.EXPLOITABLE), by=ALICE)
    shown = store._read(
        lambda session: set(
            session.scalars(select(FindingRow.id).join(ModelRow, ModelRow.name == "org/a").where(counting(session)))
        )
    )
    assert shown == {found[1].id, found[2].id}


def test_a_hostile_pattern_is_matched_in_no_time(store: Store, examine: Examine) -> None:
    (found,) = examine("org/" + "a" * 200)
    add(store, model="*" + "a*" * 100 + "b")
    started = time.perf_counter()
    assert store.finding(found.id).standing.counts
    assert time.perf_counter() - started < 1
