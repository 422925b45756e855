"""Reports next to an earlier audit of the same model, also where its run was made for another entry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from registry_auditor.domain import (
    Audit,
    BaseSource,
    Finding,
    Job,
    ModelRef,
    SubjectKey,
    Triage,
    TriageState,
    Verdict,
)
from registry_auditor.errors import NotFound, UsageError
from registry_auditor.report import gather
from registry_auditor.report.baseline import Since, baseline, placed
from registry_auditor.report.compare import compare
from registry_auditor.report.sarif import sarif
from registry_auditor.store import Store
from tests.api.v1.planted import BASE, GONE, LARGE, LATER, OPERATOR, RANK_ONE, STEP, TUNED, audited

MIRROR = ModelRef("hf", "mirror/tuned", "9a8b")
ITS_NEXT = ModelRef("hf", "mirror/tuned", "7c6d")


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with Store.open(db) as opened:
        yield opened


def mirrored(store: Store, model: ModelRef, *, of: ModelRef) -> Audit:
    """A finished audit of an entry with the weights of another one, whose run it shows."""
    audit = store.submit(Job(model, BASE, BaseSource.CARD, plan=(STEP,)))
    assert store.claim(audit.id, "worker-1", lease_s=60)
    subject = SubjectKey(f"digest-of-{of}", "digest-of-base")
    store.set_subject(audit.id, subject)
    store.adopt(audit.id, subject, STEP)
    return store.finish(audit.id, Verdict.PASS, "as planted")


def states(store: Store, before: Audit, after: Audit) -> dict[str, Since | None]:
    document = gather(store, after.id)
    return {
        each.found.finding.code + str(each.found.finding.site): each.since
        for each in placed(document, gather(store, before.id))
    }


def key(finding: Finding) -> str:
    return finding.code + str(finding.site)


def test_findings_are_new_unchanged_or_absent(store: Store) -> None:
    before = audited(store, TUNED, findings=(RANK_ONE, GONE))
    after = audited(store, LATER, findings=(LARGE, RANK_ONE))
    expected = {key(LARGE): Since.NEW, key(RANK_ONE): Since.UNCHANGED, key(GONE): Since.ABSENT}
    assert states(store, before, after) == expected


def test_a_baseline_is_an_earlier_audit_of_the_same_model(store: Store) -> None:
    before, other, after = (audited(store, model) for model in (TUNED, MIRROR, LATER))
    document = gather(store, after.id)
    assert baseline(store, before.id[:30], document).audit.id == before.id
    with pytest.raises(UsageError, match="an audit of hf:mirror/tuned, and this is one of hf:org/tuned"):
        baseline(store, other.id, document)
    for late in (gather(store, before.id), document):
        with pytest.raises(UsageError, match="not earlier"):
            baseline(store, after.id, late)
    with pytest.raises(NotFound):
        baseline(store, "ffffffff", document)


def test_what_is_said_about_weights_holds_for_every_entry_that_has_them(store: Store) -> None:
    audited(store, TUNED, findings=(RANK_ONE,))
    mirror = mirrored(store, MIRROR, of=TUNED)
    (here,), (there,) = store.findings(model_glob="hf:org/*").items, store.findings(model_glob="hf:mirror/*").items
    assert (here.id, here.fingerprint) == (there.id, there.fingerprint)
    assert [str(each.model) for each in (here, there)] == [str(TUNED), str(MIRROR)]
    store.triage.set(there.id, Triage(TriageState.FALSE_POSITIVE, comment="both are ours"), by=OPERATOR)
    shown = [*store.findings(model_glob="hf:org/*").items, *gather(store, mirror.id).found]
    assert [each.standing.counts for each in shown] == [False, False]


def test_the_next_revision_of_a_mirror_is_judged_anew(store: Store) -> None:
    audited(store, TUNED, findings=(RANK_ONE,))
    mirrored(store, MIRROR, of=TUNED)
    (shown,) = store.findings(model_glob="hf:mirror/*").items
    store.triage.set(shown.id, Triage(TriageState.RESOLVED), by=OPERATOR)
    audited(store, ITS_NEXT, findings=(RANK_ONE,))
    (later,) = store.findings(model_glob=str(ITS_NEXT)).items
    assert later.fingerprint != shown.fingerprint
    assert later.standing.counts


def test_it_is_compared_under_its_own_name(store: Store) -> None:
    first = audited(store, TUNED, findings=(RANK_ONE, GONE))
    before, after = mirrored(store, MIRROR, of=TUNED), audited(store, ITS_NEXT, findings=(RANK_ONE, LARGE))
    seen = compare(store, before.id, after.id)
    assert [[each.finding.code for each in some] for some in (seen.new, seen.gone, seen.unchanged)] == [
        [LARGE.code], [GONE.code], [RANK_ONE.code],
    ]  # fmt: skip
    same = compare(store, first.id, before.id)
    assert (same.new, same.gone, len(same.unchanged)) == ((), (), 2)
    expected = {key(LARGE): Since.NEW, key(RANK_ONE): Since.UNCHANGED, key(GONE): Since.ABSENT}
    assert states(store, before, after) == expected


def test_its_alerts_stay_the_same(store: Store) -> None:
    audited(store, TUNED, findings=(RANK_ONE,))
    both = mirrored(store, MIRROR, of=TUNED), audited(store, ITS_NEXT, findings=(RANK_ONE,))
    (one,), (other,) = (_results(store, audit) for audit in both)
    assert _known_by(one) == _known_by(other)
    assert (
        one["partialFingerprints"]["registryAuditorFinding/v1"]
        == store.findings(model_glob="hf:org/*").items[0].fingerprint
    )


def _results(store: Store, audit: Audit) -> list[dict[str, Any]]:
    return list(sarif(gather(store, audit.id), ())["runs"][0]["results"])


def _known_by(result: dict[str, Any]) -> tuple[str, str]:
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    return place, result["partialFingerprints"]["primaryLocationLineHash"]
