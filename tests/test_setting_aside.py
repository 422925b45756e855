"""What people say about findings decides over later verdicts, and never over those that were given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from registry_auditor.audit import Terms, conclude
from registry_auditor.domain import (
    Audit,
    Author,
    Coverage,
    Finding,
    Job,
    ModelRef,
    Run,
    RunStatus,
    Severity,
    Site,
    StepKey,
    SubjectKey,
    Triage,
    TriageState,
    Verdict,
)
from registry_auditor.store import Store, StoredFinding

ALICE = Author("cli:alice")
BENIGN = Triage(TriageState.FALSE_POSITIVE, comment="a merge")
GRAVE = Finding("probe/trigger", Severity.CRITICAL, "a trigger fires", site=Site("model.layers.3.mlp.down_proj.weight"))
MILD = Finding("probe/oddity", Severity.LOW, "an odd spectrum")

Examine = Callable[..., Audit]


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with Store.open(db) as opened:
        yield opened


@pytest.fixture
def announced() -> list[tuple[Verdict, Severity | None]]:
    """What targets were told of: verdicts with the worst finding."""
    return []


@pytest.fixture
def examine(store: Store, announced: list[tuple[Verdict, Severity | None]]) -> Examine:
    """A function that audits a revision with a version of the analyzer, and judges what it found."""

    def note(verdict: Verdict, worst: Severity | None) -> Sequence[str]:
        announced.append((verdict, worst))
        return ()

    def audit(
        revision: str = "1", *found: Finding, version: int = 1, failure: str | None = None, ok: bool = True
    ) -> Audit:
        step = StepKey("probe", version, "digest")
        record = store.submit(Job(ModelRef("hf", "org/tuned", revision), plan=(step,)))
        status, reason = (RunStatus.OK, None) if ok else (RunStatus.TIMED_OUT, "slow")
        findings = found or (GRAVE, MILD)
        subject = SubjectKey(f"digest of {revision}", None)
        store.save(record.id, Run(step, subject, {}, status, reason, 1.0, "cpu", None, Coverage(3), findings))
        return conclude(record, store, Terms(announce=note), failure=failure)

    return audit


def grave(store: Store, audit: Audit) -> StoredFinding:
    (found,) = [each for each in store.runs(audit.id)[0].findings if each.finding.code == GRAVE.code]
    return found


def test_a_finding_that_was_dismissed_fails_no_later_audit(
    store: Store, examine: Examine, announced: list[tuple[Verdict, Severity | None]]
) -> None:
    first = examine()
    assert (first.verdict, first.reason) == (Verdict.FAIL, "1 finding at or above high: probe/trigger")
    store.triage.set(grave(store, first).id, BENIGN, by=ALICE)
    # A re-scan of what was audited, a new revision, a new version of the analyzer that words and scores it anew.
    reworded = replace(GRAVE, message="a rare token changes the answer", score=0.7, severity=Severity.HIGH)
    for later in (examine(), examine("2"), examine(version=2), examine("3", reworded, version=3)):
        assert later.verdict is Verdict.PASS
        assert later.reason == "complete, nothing at or above high; 1 finding set aside by triage or suppression"
    assert store.audit(first.id).verdict is Verdict.FAIL
    assert announced[:3] == [
        (Verdict.FAIL, Severity.CRITICAL), (Verdict.PASS, Severity.LOW), (Verdict.PASS, Severity.LOW),
    ]  # fmt: skip
    assert announced[-1] == (Verdict.PASS, None)


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (TriageState.IN_TRIAGE, Verdict.FAIL),
        (TriageState.EXPLOITABLE, Verdict.FAIL),
        (TriageState.RESOLVED, Verdict.PASS),
    ],
)
def test_only_a_triage_that_dismisses_takes_a_finding_out(
    store: Store, examine: Examine, state: TriageState, verdict: Verdict
) -> None:
    store.triage.set(grave(store, examine()).id, Triage(state), by=ALICE)
    assert examine("2").verdict is verdict


def test_when_the_triage_expires_audits_fail_again(store: Store, examine: Examine) -> None:
    expiring = replace(BENIGN, expires_at=datetime.now(UTC) + timedelta(seconds=0.5))
    store.triage.set(grave(store, examine()).id, expiring, by=ALICE)
    assert examine("2").verdict is Verdict.PASS
    time.sleep(0.55)
    assert examine("3").verdict is Verdict.FAIL


def test_a_suppressed_finding_fails_no_later_audit_until_the_rule_ends(store: Store, examine: Examine) -> None:
    expires_at = datetime.now(UTC) + timedelta(days=9)
    rule = store.suppressions.add(by=ALICE, code="probe/*", model="hf:org/*", reason="known", expires_at=expires_at)
    audit = examine()
    assert audit.verdict is Verdict.PASS
    assert audit.reason == "complete, nothing at or above high; 2 findings set aside by triage or suppression"
    store.suppressions.end(rule.id, by=ALICE)
    assert examine("2").verdict is Verdict.FAIL


def test_setting_findings_aside_hides_neither_others_nor_holes_nor_failures(store: Store, examine: Examine) -> None:
    store.triage.set(grave(store, examine()).id, BENIGN, by=ALICE)
    other = replace(GRAVE, site=Site("model.layers.4.mlp.down_proj.weight"))
    assert examine("2", GRAVE, other).reason == (
        "1 finding at or above high: probe/trigger; 1 finding set aside by triage or suppression"
    )
    hole = examine("3", ok=False)
    assert hole.verdict is Verdict.INCOMPLETE
    assert hole.reason == "probe timed out: slow; 1 finding set aside by triage or suppression"
    failed = examine("4", failure="the registry is gone")
    assert failed.verdict is Verdict.ERROR
    assert failed.reason == "the registry is gone; 1 finding set aside by triage or suppression"
