"""An ML-BOM fits the strict schema of the library and carries what people have said as VEX."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from registry_auditor.domain import AuditState, Justification, ModelRef, Severity, SubjectKey, TriageState
from registry_auditor.report import Report
from registry_auditor.report.cyclonedx import cyclonedx
from tests.report.samples import audit_of, finding, nasty, plain, run_of, said, stored, suppressed

Json = dict[str, Any]
VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def written(document: Report) -> Json:
    """The BOM, which must fit the schema."""
    bom = cyclonedx(document)
    error = VALIDATOR.validate_str(json.dumps(bom))
    assert error is None, error
    return bom


def properties(part: Json) -> dict[str, str]:
    return {each["name"].removeprefix("registry-auditor:"): each["value"] for each in part["properties"]}


@pytest.mark.parametrize("document", [nasty(), plain(), plain(run_of(stored(finding())))])
def test_every_report_fits_the_schema(document: Report) -> None:
    written(document)


def test_an_audit_that_waits_without_a_base_fits_the_schema() -> None:
    audit = audit_of(state=AuditState.QUEUED, verdict=None, finished_at=None, subject=None)
    job = replace(audit.job, base=None, base_source=None)
    bom = written(Report(replace(audit, job=job), (), (), 3))
    assert "pedigree" not in bom["metadata"]["component"]


def test_the_model_is_the_component_and_its_base_the_ancestor() -> None:
    bom = written(plain(run_of()))
    model = bom["metadata"]["component"]
    assert (model["type"], model["group"], model["name"]) == ("machine-learning-model", "org", "tuned")
    assert model["purl"] == f"pkg:huggingface/org/tuned@{'a' * 40}"
    assert model["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    (base,) = model["pedigree"]["ancestors"]
    assert base["purl"] == f"pkg:huggingface/org/base@{'b' * 40}"
    assert base["hashes"][0]["content"] == "b" * 64


def test_a_model_that_was_held_against_itself_stays_two_components() -> None:
    job = replace(audit_of().job, base=audit_of().job.model)
    document = plain(run_of(stored(finding())), job=job)
    bom = written(document)
    assert bom == cyclonedx(document)
    assert bom["vulnerabilities"][0]["affects"] == [{"ref": bom["metadata"]["component"]["bom-ref"]}]


def test_a_folder_has_no_package_url_and_a_commit_is_no_hash() -> None:
    job = replace(audit_of().job, model=ModelRef("dir", "/models/x", "sha256:" + "d" * 64))
    model = written(plain(job=job))["metadata"]["component"]
    assert "purl" not in model
    commit = written(plain(subject=SubjectKey("a" * 40, "b" * 40)))["metadata"]["component"]
    assert "hashes" not in commit
    assert properties(commit)["digest"] == "a" * 40


def test_a_finding_is_a_vulnerability_of_the_model_with_its_own_source() -> None:
    bom = written(plain(run_of(stored(finding("svd-diff/not-the-base", Severity.MEDIUM), 5))))
    (vulnerability,) = bom["vulnerabilities"]
    assert (vulnerability["id"], vulnerability["source"]["name"]) == ("svd-diff/not-the-base", "registry-auditor")
    assert vulnerability["ratings"][0]["severity"] == "medium"
    assert vulnerability["cwes"] == [345]
    assert vulnerability["affects"] == [{"ref": bom["metadata"]["component"]["bom-ref"]}]
    assert properties(vulnerability)["fpr"] == "0.003"
    assert "analysis" not in vulnerability


def test_two_findings_that_look_alike_stay_two() -> None:
    bom = written(plain(run_of(stored(finding(), 1), stored(finding(), 2))))
    assert len(bom["vulnerabilities"]) == 2


@pytest.mark.parametrize("state", [state for state in TriageState if state is not TriageState.NOT_SET])
def test_every_triage_state_is_a_vex_state(state: TriageState) -> None:
    (vulnerability,) = written(plain(run_of(stored(finding(), 1, said(state, comment="why")))))["vulnerabilities"]
    assert vulnerability["analysis"]["state"] == state
    assert vulnerability["analysis"]["detail"] == "why"


@pytest.mark.parametrize("justification", list(Justification))
def test_every_justification_is_that_of_vex(justification: Justification) -> None:
    standing = said(TriageState.NOT_AFFECTED, justification=justification)
    (vulnerability,) = written(plain(run_of(stored(finding(), 1, standing))))["vulnerabilities"]
    assert vulnerability["analysis"]["justification"] == justification


def test_a_finding_that_was_given_back_has_no_analysis() -> None:
    (vulnerability,) = written(plain(run_of(stored(finding(), 1, said(TriageState.NOT_SET)))))["vulnerabilities"]
    assert "analysis" not in vulnerability


def test_a_suppression_is_told_with_reason_and_end() -> None:
    (vulnerability,) = written(plain(run_of(stored(finding(), 1, suppressed("a test model")))))["vulnerabilities"]
    told = properties(vulnerability)
    assert told["suppression:reason"] == "a test model"
    assert told["suppression:expires"].startswith("2026-02-01")


def test_one_audit_is_one_document_until_somebody_says_something() -> None:
    document = plain(run_of(stored(finding(), 1)))
    assert cyclonedx(document) == cyclonedx(document)
    other = plain(run_of(stored(finding(), 1, suppressed())))
    assert cyclonedx(other)["serialNumber"] != cyclonedx(document)["serialNumber"]
    assert cyclonedx(document)["metadata"]["timestamp"].startswith("2026-01-02T03:04")


def test_verdict_and_coverage_are_properties() -> None:
    told = properties(written(plain(run_of()))["metadata"])
    assert told["verdict"] == "pass"
    assert told["coverage:seen"] == "7"
    assert told["run:norm-jump"] == "ok"
