"""An attestation states what was audited, and no more than was verified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.domain import (
    AuditState,
    Coverage,
    Gap,
    ModelRef,
    RunStatus,
    Severity,
    SubjectKey,
    TriageState,
    Verdict,
)
from registry_auditor.errors import UsageError
from registry_auditor.report import Report
from registry_auditor.report.attestation import Terms, opened, statement
from registry_auditor.report.keys import public_key
from registry_auditor.report.policy import Policy, PolicyFile
from tests.report.samples import NOW, audit_of, finding, plain, run_of, said, stored, suppressed
from tests.report.signing import DIGEST, MONTH, attested

Json = dict[str, Any]
POLICY = PolicyFile(Policy(), "policy.toml", "e" * 64)


def predicate(document: Report, **terms: Any) -> Json:
    return dict(statement(document, Terms(NOW, MONTH, **terms))["predicate"])


def test_the_statement_is_a_simple_verification_result_about_the_digest(keys: tuple[Path, Path]) -> None:
    found = opened(attested(plain(run_of()), keys[0]), public_key(keys[1]))
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://in-toto.io/attestation/svr/v0.1"
    assert found["subject"] == [{"name": f"hf:org/tuned@{'a' * 40}", "digest": {"sha256": "a" * 64}}]
    told = found["predicate"]
    assert told["timeCreated"] == "2026-01-02T03:04:00Z"
    assert told["verifier"]["id"].startswith("pkg:pypi/registry-auditor@")
    result = told["registryAuditor"]
    assert result["expires"] == "2026-02-01T03:04:00Z"
    assert result["analyzers"] == [{"name": "norm-jump", "version": 3, "params": "digest", "status": "ok"}]


@pytest.mark.parametrize(
    ("digest", "expected"),
    [(DIGEST, {"sha256": "a" * 64}), ("c" * 40, {"gitCommit": "c" * 40}), ("7.abc", {"registryRevision": "7.abc"})],
)
def test_every_kind_of_revision_is_a_digest(digest: str, expected: Json) -> None:
    document = plain(run_of(), subject=SubjectKey(digest, None))
    assert statement(document, Terms(NOW, MONTH))["subject"][0]["digest"] == expected


def properties(document: Report) -> set[str]:
    return {each.removeprefix("REGISTRY_AUDITOR_") for each in predicate(document)["properties"]}


def test_only_what_was_verified_is_listed() -> None:
    worst = {f"NO_FINDING_AT_OR_ABOVE_{each.upper()}" for each in Severity}
    assert properties(plain(run_of())) == {"AUDITED", "VERDICT_PASS", "COMPLETE", *worst}
    medium = stored(finding(severity=Severity.MEDIUM))
    assert properties(plain(run_of(medium))) == {
        "AUDITED", "VERDICT_PASS", "COMPLETE", "NO_FINDING_AT_OR_ABOVE_HIGH", "NO_FINDING_AT_OR_ABOVE_CRITICAL"
    }  # fmt: skip
    assert properties(plain(run_of(stored(finding())), verdict=Verdict.FAIL)) == {
        "AUDITED", "COMPLETE", "NO_FINDING_AT_OR_ABOVE_CRITICAL"
    }  # fmt: skip
    gap = run_of(coverage=Coverage(1, (Gap("a", "odd"),)))
    assert properties(plain(gap, verdict=Verdict.INCOMPLETE)) == {"AUDITED"}
    failed = run_of(status=RunStatus.FAILED, reason="why")
    assert properties(plain(failed, verdict=Verdict.INCOMPLETE)) == {"AUDITED"}
    assert properties(plain(verdict=Verdict.ERROR)) == set()


def test_findings_that_people_have_set_aside_are_counted_apart() -> None:
    aside = (stored(finding(), 1, suppressed()), stored(finding(), 2, said(TriageState.RESOLVED)))
    result = predicate(plain(run_of(*aside)))["registryAuditor"]
    assert (result["setAside"], result["findings"]["high"], result["verdict"]) == (2, 0, "pass")


def test_a_verdict_that_rested_on_a_suppression_which_ran_out_is_not_attested_as_pass() -> None:
    document = plain(run_of(stored(finding())), verdict=Verdict.PASS)
    assert "VERDICT_PASS" not in properties(document)
    assert predicate(document)["registryAuditor"]["verdict"] == "fail"


@pytest.mark.parametrize("state", [AuditState.QUEUED, AuditState.RUNNING])
def test_an_audit_that_is_not_done_is_not_attested(state: AuditState) -> None:
    with pytest.raises(UsageError, match="only what is done can be attested"):
        statement(plain(state=state, verdict=None, finished_at=None), Terms(NOW, MONTH))


def test_a_model_that_was_never_read_is_not_attested() -> None:
    job = replace(audit_of().job, model=ModelRef("hf", "org/tuned"))
    with pytest.raises(UsageError, match="never read its model"):
        statement(plain(job=job, subject=None, verdict=Verdict.ERROR), Terms(NOW, MONTH))
