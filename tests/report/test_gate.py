"""A policy says what a gate accepts; its file is checked, and its judgement depends on report, policy and time only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry_auditor.domain import AuditState, Coverage, Gap, RunStatus, Severity, TriageState, Verdict
from registry_auditor.errors import UsageError
from registry_auditor.report import Report
from registry_auditor.report.gate import Decision, Ground, evaluate
from registry_auditor.report.policy import BasePolicy, CoveragePolicy, Policy, load, parse
from tests.report.samples import NOW, audit_of, finding, plain, run_of, said, stored, suppressed

ROOT = Path(__file__).parents[2]
HIGH = stored(finding())
MEDIUM = stored(finding("norm-jump/small", Severity.MEDIUM))


def decided(document: Report, toml: str = "", *, later: timedelta = timedelta()) -> Decision:
    return evaluate(document, parse(toml), now=NOW + later)


def grounds(decision: Decision) -> list[Ground]:
    return [reason.ground for reason in decision.reasons]


def test_an_empty_policy_accepts_a_complete_audit_up_to_medium() -> None:
    assert decided(plain(run_of(MEDIUM))).accepted
    refused = decided(plain(run_of(MEDIUM, HIGH)))
    assert (refused.exit_code, grounds(refused)) == (1, [Ground.FINDING])
    assert refused.reasons[0].text == "high norm-jump/large: seen"


@pytest.mark.parametrize(("limit", "code"), [("critical", 0), ("high", 0), ("medium", 1), ("low", 1), ("info", 1)])
def test_a_finding_worse_than_the_limit_blocks(limit: str, code: int) -> None:
    assert decided(plain(run_of(HIGH)), f"max_severity = '{limit}'").exit_code == code


def test_the_verdict_of_the_audit_does_not_matter_the_policy_does() -> None:
    assert decided(plain(run_of(HIGH), verdict=Verdict.FAIL), "max_severity = 'high'").accepted


@pytest.mark.parametrize("state", [state for state in TriageState if state.dismisses])
def test_dismissed_and_suppressed_findings_do_not_block_unless_the_policy_says_so(state: TriageState) -> None:
    document = plain(run_of(stored(finding(), 1, said(state))), run_of(stored(finding(), 2, suppressed("test"))))
    decision = decided(document)
    assert decision.accepted
    assert decision.set_aside == (
        f"high norm-jump/large: seen ({state.replace('_', ' ')})", "high norm-jump/large: seen (suppressed: test)"
    )  # fmt: skip
    assert len(decided(document, "honour_triage = false").reasons) == 1
    assert len(decided(document, "honour_suppressions = false").reasons) == 1


def test_a_finding_that_is_looked_into_or_confirmed_blocks() -> None:
    for state in (TriageState.NOT_SET, TriageState.IN_TRIAGE, TriageState.EXPLOITABLE):
        assert decided(plain(run_of(stored(finding(), 1, said(state))))).exit_code == 1


def test_with_calibrated_only_a_finding_without_a_false_positive_rate_does_not_block() -> None:
    document = plain(run_of(stored(finding(fpr=None)), HIGH))
    assert len(decided(document).reasons) == 2
    decision = decided(document, "calibrated_only = true")
    assert (len(decision.reasons), decision.set_aside) == (1, ("high norm-jump/large: seen (uncalibrated)",))


@pytest.mark.parametrize(
    ("required", "code", "told"),
    [("norm-jump", 0, ""), ("norm-jump>=3", 0, ""), ("norm-jump >= 4", 3, "version 4"), ("svd-diff", 3, "was not run")],
)
def test_a_required_analyzer_must_have_finished_in_its_version(required: str, code: int, told: str) -> None:
    decision = decided(plain(run_of()), f"required = ['{required}']")
    assert decision.exit_code == code
    assert told in "".join(reason.text for reason in decision.reasons)


@pytest.mark.parametrize("status", [status for status in RunStatus if status is not RunStatus.OK])
def test_a_required_analyzer_that_did_not_finish_is_no_matter_of_accept_incomplete(status: RunStatus) -> None:
    document = plain(run_of(status=status, reason="why"))
    assert decided(document).exit_code == 3
    assert decided(document, "accept_incomplete = true").accepted
    both = decided(document, "accept_incomplete = true\nrequired = ['norm-jump']")
    assert (both.exit_code, len(both.reasons)) == (3, 1)


def test_a_gap_is_refused_unless_the_policy_allows_some() -> None:
    document = plain(run_of(coverage=Coverage(98, (Gap("a", "odd"), Gap("b", "odd")))))
    assert decided(document).exit_code == 3
    assert "first a: odd" in decided(document).reasons[0].text
    assert decided(document, "accept_incomplete = true").accepted
    for limits, accepted in (
        ("max_gaps = 2", True), ("max_gaps = 1", False), ("min_seen_share = 0.98", True),
        ("min_seen_share = 0.99", False), ("max_gaps = 5\nmin_seen_share = 0.99", False),
    ):  # fmt: skip
        for rest in ("", "accept_incomplete = true\n"):
            assert decided(document, f"{rest}[coverage]\n{limits}").accepted is accepted, limits


def test_where_nobody_looked_nothing_is_proved() -> None:
    for document in (plain(), plain(run_of(coverage=Coverage()))):
        assert decided(document).exit_code == 3
        assert decided(document, "[coverage]\nmin_seen_share = 0.5").exit_code == 3


def test_an_audit_is_too_old_after_its_time() -> None:
    assert decided(plain(run_of()), "max_age = '30d'", later=timedelta(days=30)).accepted
    late = decided(plain(run_of()), "max_age = '30d'", later=timedelta(days=31))
    assert (late.exit_code, late.reasons[0].text) == (3, "the audit is 31 days old, and may be 30 days at most")
    assert decided(plain(run_of()), later=timedelta(days=3000)).accepted


def test_the_base_must_be_known_by_somebody_who_is_believed() -> None:
    without = plain(run_of(), job=replace(audit_of().job, base=None, base_source=None))
    assert decided(without).accepted
    assert decided(without, "[base]\nrequired = true").exit_code == 3
    assert decided(without, "[base]\nsources = ['card']").accepted
    assert decided(plain(run_of()), "[base]\nrequired = true\nsources = ['card', 'adapter']").accepted
    assert "named by the card" in decided(plain(run_of()), "[base]\nsources = ['operator']").reasons[0].text


def test_an_audit_that_ended_with_an_error_exits_with_2() -> None:
    decision = decided(plain(verdict=Verdict.ERROR, reason="no such file"), "required = ['svd-diff']")
    assert decision.exit_code == 2
    assert "no such file" in decision.reasons[0].text


def test_an_audit_that_is_not_done_exits_with_3() -> None:
    for state in (AuditState.QUEUED, AuditState.RUNNING):
        assert decided(plain(state=state, verdict=None, finished_at=None)).exit_code == 3


def test_findings_win_over_errors_and_these_over_what_is_not_proved() -> None:
    gaps = run_of(HIGH, coverage=Coverage(0, (Gap("a", "odd"),)))
    decision = decided(plain(gaps, verdict=Verdict.ERROR))
    assert set(grounds(decision)) == set(Ground)
    assert decision.exit_code == 1


def test_the_whole_policy_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(
        "max_severity = 'low'\nrequired = ['svd-diff>=2']\ncalibrated_only = true\nmax_age = '2w'\n"
        "accept_incomplete = true\nhonour_triage = false\nhonour_suppressions = false\n"
        "[coverage]\nmax_gaps = 3\nmin_seen_share = 0.5\n[base]\nrequired = true\nsources = ['operator']\n"
    )
    read = load(file)
    assert (read.name, len(read.sha256)) == ("policy.toml", 64)
    assert read.policy.max_age == timedelta(weeks=2)
    assert (read.policy.required[0].name, read.policy.required[0].version) == ("svd-diff", 2)
    assert read.policy.coverage == CoveragePolicy(max_gaps=3, min_seen_share=0.5)
    assert not set(Policy.model_fields) - read.policy.model_fields_set


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max_severty = 'high'", "unknown key 'max_severty'; did you mean 'max_severity'?"),
        ("[coverage]\nmax_gap = 1", "unknown key 'coverage.max_gap'; did you mean 'max_gaps'?"),
        ("[base]\nqwertz = 1", "unknown key 'base.qwertz'; known: required, sources"),
        ("[qwertz]\nmax_gaps = 1", "unknown key 'qwertz'; known: max_severity"),
        ("max_severity = 'grave'", "max_severity: Input should be 'critical', 'high', 'medium', 'low' or 'info'"),
        ("required = ['svd diff']", "required.0: write the name of an analyzer, or 'svd-diff>=2'"),
        ("required = [3]", "required.0: write the name of an analyzer"),
        ("max_age = 30", "max_age: write a span of time, such as '30d'"),
        ("max_age = '30 days'", "is no span of time"),
        ("max_age = '0d'", "is no span of time"),
        ("max_age = '99999w'", "ten years at most"),
        ("[coverage]\nmin_seen_share = 99", "coverage.min_seen_share: Input should be less than or equal to 1"),
        ("[base]\nsources = ['rumour']", "base.sources.0: Input should be 'card'"),
        ("max_severity = ", "is no TOML"),
    ],
)
def test_a_policy_with_a_mistake_is_refused_with_what_would_be_right(text: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert told in str(error.value)
    assert str(error.value).startswith("policy: ")


def test_a_file_that_is_no_policy_says_so(tmp_path: Path) -> None:
    binary, huge = tmp_path / "binary", tmp_path / "huge"
    binary.write_bytes(b"\xff\xfe")
    huge.write_bytes(b"#" * 70_000)
    for path, told in (
        (tmp_path / "none", "cannot be read"),
        (tmp_path, "cannot be read"),
        (binary, "UTF-8"),
        (huge, "larger"),
    ):
        with pytest.raises(UsageError, match=told):
            load(path)


def test_the_manual_page_explains_every_key_and_its_example_is_a_policy() -> None:
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    example = "\n".join(line[4:] for line in page.split("## The gate")[0].splitlines() if line.startswith("    "))
    policy = parse(example)
    assert policy.coverage.max_gaps == 3
    keys = [*Policy.model_fields, *(f"coverage.{key}" for key in CoveragePolicy.model_fields)]
    keys += [f"base.{key}" for key in BasePolicy.model_fields]
    for key in keys:
        assert key in ("coverage", "base") or f"`{key}`" in page, f"docs/gate.md does not explain {key}"
