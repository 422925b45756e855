"""A SARIF log fits the official schema, keeps alerts the same over scans, and says what was not looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from registry_auditor.domain import (
    AuditState,
    Coverage,
    Gap,
    Justification,
    RunStatus,
    Severity,
    Taxonomy,
    TriageState,
    Verdict,
)
from registry_auditor.report import Report
from registry_auditor.report.sarif import MAX_RESULTS, sarif
from registry_auditor.report.sarif_invocation import MAX_GAPS
from tests.report.samples import ANALYZERS, audit_of, finding, nasty, plain, run_of, said, stored, suppressed

Json = dict[str, Any]
SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def run_in(log: Json) -> Json:
    """The one run of a log, which must fit the schema."""
    log = json.loads(json.dumps(log))
    VALIDATOR.validate(log)
    (run,) = log["runs"]
    return dict(run)


def written(document: Report, **options: Any) -> Json:
    return run_in(sarif(document, ANALYZERS, **options))


def results(document: Report, **options: Any) -> list[Json]:
    return list(written(document, **options)["results"])


def test_the_schema_is_that_of_sarif() -> None:
    assert SCHEMA["title"] == "Static Analysis Results Format (SARIF) Version 2.1.0 JSON Schema"
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({"version": "2.1.0"})


@pytest.mark.parametrize("document", [nasty(), plain(), plain(run_of()), plain(run_of(stored(finding())))])
def test_every_report_fits_the_schema(document: Report) -> None:
    written(document)


def test_an_audit_that_waits_fits_the_schema_and_was_not_successful() -> None:
    waiting = audit_of(state=AuditState.QUEUED, verdict=None, reason=None, started_at=None, finished_at=None)
    run = written(Report(waiting, (), (), 3))
    assert run["invocations"][0]["executionSuccessful"] is False
    assert run["invocations"][0]["exitCode"] == 3


def test_the_index_of_a_rule_is_its_place_among_the_rules_whatever_the_order_of_the_results() -> None:
    codes = ["norm-jump/small", "norm-jump/large", "norm-jump/small", "norm-jump/tiny"]
    severities = [Severity.LOW, Severity.HIGH, Severity.MEDIUM, Severity.INFO]
    found = [stored(finding(c, s), n) for n, (c, s) in enumerate(zip(codes, severities, strict=True))]
    run = written(plain(run_of(*found)))
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted(set(codes))
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    by_id = {rule["id"]: rule for rule in rules}
    assert by_id["norm-jump/small"]["properties"]["security-severity"] == "5.5"


@pytest.mark.parametrize(
    ("severity", "level", "number"),
    [("critical", "error", "9.5"), ("high", "error", "8.0"), ("medium", "warning", "5.5"), ("low", "note", "2.0"),
     ("info", "note", "0.0")],
)  # fmt: skip
def test_severities_have_levels_and_numbers(severity: str, level: str, number: str) -> None:
    run = written(plain(run_of(stored(finding(severity=Severity(severity))))))
    (result,) = run["results"]
    assert (result["level"], result["properties"]["security-severity"]) == (level, number)
    assert run["tool"]["driver"]["rules"][0]["properties"]["security-severity"] == number


def test_a_rule_is_explained_by_the_manual_page_of_the_version_that_ran_and_no_address_is_made_up() -> None:
    run = written(plain(run_of(stored(finding()), stored(finding("norm-jump/unheard-of"), 1))))
    known, unheard = run["tool"]["driver"]["rules"]
    assert known["shortDescription"]["text"] == "an update as large as the weight that it changes."
    assert known["help"]["text"].startswith("What norms say.")
    assert "### Why it matters" in known["help"]["markdown"]
    assert unheard["shortDescription"]["text"] == "unheard of"
    assert not [key for rule in (known, unheard) for key in rule if key == "helpUri"]


def test_without_manual_pages_a_rule_says_what_its_code_says() -> None:
    run = run_in(sarif(plain(run_of(stored(finding()))), ()))
    assert run["tool"]["driver"]["rules"][0]["help"] == {"text": "large"}


def test_alerts_keep_their_place_and_fingerprint_when_words_severity_numbers_and_revision_change() -> None:
    one = stored(finding())
    changed = finding(severity=Severity.LOW, message="said otherwise", score=0.1, fpr=None)
    other = stored(changed, 7, model=replace(one.model, revision="c" * 40))
    job = replace(audit_of().job, model=other.model)
    (before,), (after,) = results(plain(run_of(one))), results(plain(run_of(other), job=job))
    assert before["partialFingerprints"] == after["partialFingerprints"]
    assert before["locations"] == after["locations"]
    assert before["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "hf/org/tuned"


def test_two_findings_with_one_fingerprint_stay_two_alerts() -> None:
    twins = results(plain(run_of(stored(finding(), 1), stored(finding(message="another"), 2))))
    lines = [each["partialFingerprints"]["primaryLocationLineHash"] for each in twins]
    assert [line.rpartition(":")[2] for line in lines] == ["1", "2"]
    assert len({line.rpartition(":")[0] for line in lines}) == 1


def test_a_tensor_is_a_logical_location_in_the_model() -> None:
    (result,) = results(plain(run_of(stored(finding()))))
    assert result["locations"][0]["logicalLocations"] == [
        {"name": "layer 1 mlp.up", "fullyQualifiedName": "a.weight", "kind": "tensor"}
    ]
    (whole,) = results(plain(run_of(stored(finding(site=None)))))
    assert "logicalLocations" not in whole["locations"][0]


def test_what_people_have_set_aside_is_suppressed_with_their_reason_and_stays_in_the_log() -> None:
    standings = [
        suppressed("a test model"),
        said(TriageState.FALSE_POSITIVE, comment="checked by hand"),
        said(TriageState.NOT_AFFECTED, justification=Justification.CODE_NOT_REACHABLE),
        said(TriageState.IN_TRIAGE, comment="mine"),
        said(TriageState.EXPLOITABLE),
    ]
    found = [stored(finding(f"norm-jump/{n}"), n, each) for n, each in enumerate(standings)]
    by_code = {each["ruleId"][-1]: each for each in results(plain(run_of(*found)))}
    told = {
        number: [(each["status"], each["justification"]) for each in by_code[number]["suppressions"]]
        for number in sorted(by_code)
    }
    assert told == {
        "0": [("accepted", "a test model")],
        "1": [("accepted", "false_positive: checked by hand")],
        "2": [("accepted", "code_not_reachable")],
        "3": [("underReview", "mine")],
        "4": [],
    }
    assert {each["kind"] for result in by_code.values() for each in result["suppressions"]} == {"external"}


def test_findings_that_count_come_before_those_that_do_not() -> None:
    aside = stored(finding(severity=Severity.CRITICAL), 1, suppressed())
    small = stored(finding("norm-jump/small", Severity.LOW), 2)
    assert [each["ruleId"] for each in results(plain(run_of(aside, small)))] == ["norm-jump/small", "norm-jump/large"]


def test_references_lead_to_entries_of_the_catalogues_in_the_log() -> None:
    found = stored(finding("svd-diff/not-the-base", taxonomies=(Taxonomy("house", "1", "X-1"),)))
    run = written(plain(run_of(found)))
    catalogues = run["taxonomies"]
    (result,) = run["results"]
    (rule,) = run["tool"]["driver"]["rules"]
    targets = [relationship["target"] for relationship in rule["relationships"]]
    assert {each["id"] for each in result["taxa"]} == {each["id"] for each in targets} | {"X-1"}
    for place in (*result["taxa"], *targets):
        catalogue = catalogues[place["toolComponent"]["index"]]
        assert catalogue["guid"] == place["toolComponent"]["guid"]
        assert catalogue["taxa"][place["index"]]["id"] == place["id"]
    assert {(each["name"], each["version"]) for each in catalogues} >= {
        ("MITRE ATLAS", "5.6"), ("OWASP Top 10 for LLM Applications 2025", "2025"),
        ("OWASP Top 10 for LLM Applications 2026", "2026"), ("house", "1"),
    }  # fmt: skip
    assert "external/cwe/cwe-345" in rule["properties"]["tags"]
    assert len(rule["properties"]["tags"]) <= 10


def test_what_nobody_looked_at_is_a_notification() -> None:
    gaps = tuple(Gap(f"tensor {number}", "is odd") for number in range(MAX_GAPS + 5))
    failed = run_of(status=RunStatus.FAILED, reason="no memory", coverage=Coverage(1, gaps))
    (told,) = written(plain(failed, verdict=Verdict.INCOMPLETE))["invocations"]
    texts = [each["message"]["text"] for each in told["toolExecutionNotifications"]]
    assert texts[0] == "norm-jump failed: no memory"
    assert texts[1] == "tensor 0: is odd"
    assert texts[-1] == "5 more gaps in the coverage"
    assert told["executionSuccessful"] is False


def test_a_skipped_analyzer_is_told_and_no_failure() -> None:
    (told,) = written(plain(run_of(status=RunStatus.SKIPPED, reason="no base")))["invocations"]
    assert told["executionSuccessful"] is True
    assert told["toolExecutionNotifications"][0]["descriptor"]["id"] == "run/skipped"


def test_results_are_compared_with_an_audit_before_and_never_called_new_without_one() -> None:
    same, changed, gone = finding("norm-jump/1"), finding("norm-jump/2"), finding("norm-jump/3")
    before = plain(run_of(stored(same, 1), stored(changed, 2), stored(gone, 3)))
    louder = replace(changed, score=0.99)
    now = plain(run_of(stored(same, 4), stored(louder, 5), stored(finding("norm-jump/4"), 6)))
    assert not [each for each in results(now) if "baselineState" in each]
    states = {each["ruleId"][-1]: each["baselineState"] for each in results(now, before=before)}
    assert states == {"1": "unchanged", "2": "updated", "3": "absent", "4": "new"}


def test_what_an_analyzer_that_failed_did_not_find_again_is_not_called_absent() -> None:
    before = plain(run_of(stored(finding())))
    now = plain(run_of(status=RunStatus.FAILED, reason="no memory"))
    assert results(now, before=before) == []


def test_a_message_of_a_model_makes_no_link_no_argument_and_nothing_invisible() -> None:
    text = "see [here](https://evil.example) {0} \u202eabc"
    (result,) = results(plain(run_of(stored(finding(message=text)))))
    assert result["message"]["text"] == "see \\[here\\](https://evil.example) {{0}} ‹U+202E›abc"


def test_evidence_is_bounded() -> None:
    deep: Any = "end"
    for _ in range(50):
        deep = {"in": deep}
    evidence = {"deep": deep, "long": list(range(100_000)), "text": "x" * 10**6, **{str(n): n for n in range(1000)}}
    (result,) = results(plain(run_of(stored(finding(evidence=evidence)))))
    assert len(json.dumps(result)) < 10_000
    assert result["properties"]["evidence"]["long"][-1] == "… (99960 more)"


def test_more_findings_than_a_file_may_hold_are_counted_and_the_worst_are_kept() -> None:
    few = [stored(finding("norm-jump/worst", Severity.CRITICAL), 1)]
    many = [stored(finding("norm-jump/small", Severity.LOW, evidence={"key": n}), n) for n in range(2, MAX_RESULTS + 3)]
    log = sarif(plain(run_of(*many, *few)), ANALYZERS)
    (run,) = log["runs"]
    assert len(run["results"]) == MAX_RESULTS
    assert run["results"][0]["ruleId"] == "norm-jump/worst"
    assert run["invocations"][0]["toolExecutionNotifications"][-1]["message"]["text"].startswith("2 findings")


def test_the_log_is_named_after_the_model_and_the_audit_and_says_what_was_read() -> None:
    run = written(plain(run_of()))
    assert run["automationDetails"]["id"] == f"registry-auditor/hf:org/tuned/{audit_of().id}"
    assert run["artifacts"][0]["hashes"] == {"sha-256": "a" * 64}
    assert run["properties"]["base"]["source"] == "card"
