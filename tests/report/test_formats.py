"""A report says the same in every format, and its JSON is what the published schema promises."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console
from torch import Tensor

from registry_auditor.cli import options
from registry_auditor.domain import AuditState, Justification, Severity, TriageState, Verdict
from registry_auditor.report import (
    MEDIA_TYPES,
    SUFFIXES,
    Report,
    ReportFormat,
    exit_code,
    markdown,
    records,
    render,
)  # fmt: skip
from registry_auditor.report.text import print_report
from tests.planted import add_rank_one, weight
from tests.report.samples import ANALYZERS, finding, nasty, plain, run_of, said, stored, suppressed

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((files("registry_auditor.report") / "schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def printed(document: Report) -> str:
    out = io.StringIO()
    print_report(document, Console(file=out, width=200, highlight=False))
    return out.getvalue()


def test_the_schema_is_a_schema_and_the_documentation_holds_the_same() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads((ROOT / "docs" / "audit.schema.json").read_text(encoding="utf-8")) == SCHEMA


def test_every_field_of_the_schema_is_described_by_a_type_and_closed() -> None:
    def objects(part: Any) -> list[Json]:
        if isinstance(part, dict):
            inner = [found for value in part.values() for found in objects(value)]
            return [part, *inner] if part.get("type") == "object" else inner
        return [found for value in part for found in objects(value)] if isinstance(part, list) else []

    open_ones = [each for each in objects(SCHEMA) if each.get("additionalProperties") is not False]
    assert {each["description"].partition(";")[0] for each in open_ones} == {
        "The resolved parameters",
        "What a person would need to check the claim",
    }
    for each in objects(SCHEMA):
        assert set(each.get("required", [])) == set(each.get("properties", {}))


def test_a_report_with_every_field_fits_the_schema() -> None:
    VALIDATOR.validate(records.report(nasty()))


def test_a_waiting_audit_fits_the_schema() -> None:
    waiting = replace(nasty().audit, state=AuditState.QUEUED, verdict=None, reason=None, started_at=None)
    waiting = replace(waiting, finished_at=None, subject=None, job=replace(waiting.job, base=None, base_source=None))
    document = Report(waiting, (), (), exit_code(None, allow_incomplete=False))
    VALIDATOR.validate(records.report(document))
    assert "QUEUED" in printed(document)
    assert "not finished" in markdown(document)


def test_what_the_command_prints_fits_the_schema(
    audited: Callable[..., Json], tuned_by: Callable[..., Path], base: Path, tmp_path: Path
) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        add_rank_one(tensors[weight(2, "mlp.down_proj")], seed=1)
        tensors["extra.weight"] = tensors[weight(2, "mlp.up_proj")].clone()

    tuned = tuned_by(change)
    (tmp_path / "empty").mkdir()
    for arguments in (
        (tuned, base),
        (tuned, None),
        (base, base),
        (tmp_path / "empty", base),
        (tuned, base, "-a", "svd-diff"),
    ):
        VALIDATOR.validate(audited(*arguments))


@pytest.mark.parametrize("field", ["exit_code", "audit", "runs", "findings"])
def test_a_report_that_lacks_a_field_does_not_fit(field: str) -> None:
    report = records.report(nasty())
    del report[field]
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(report)


def test_what_people_say_fits_the_schema() -> None:
    said_of = (
        suppressed(),
        said(TriageState.NOT_AFFECTED, justification=Justification.REQUIRES_CONFIGURATION, comment="only offline"),
        said(TriageState.IN_TRIAGE),
    )
    document = plain(run_of(*(stored(finding(), number, standing) for number, standing in enumerate(said_of))))
    report = records.report(document)
    VALIDATOR.validate(report)
    assert [(each["state"], each["counts"]) for each in report["findings"]] == [
        ("in_triage", True), ("not_set", False), ("not_affected", False)
    ]  # fmt: skip


def test_what_people_have_set_aside_comes_last_with_their_reason() -> None:
    grave = stored(finding(severity=Severity.CRITICAL), 1, suppressed("a *test* model"))
    wrong = stored(finding("norm-jump/wrong"), 2, said(TriageState.FALSE_POSITIVE, comment="checked"))
    small = stored(finding("norm-jump/small", Severity.LOW), 3, said(TriageState.IN_TRIAGE, comment="mine"))
    document = plain(run_of(grave, wrong, small))
    assert [each["code"] for each in records.report(document)["findings"]] == [
        "norm-jump/small", "norm-jump/large", "norm-jump/wrong"
    ]  # fmt: skip
    text, page = printed(document), markdown(document)
    for told in (
        "suppressed until 2026-02-01 (bob): a *test* model",
        "false positive (ann): checked",
        "in triage (ann): mine",
    ):
        assert told in text
        assert re.sub(r"([*_])", r"\\\1", told) in page
    assert page.index("norm-jump/small") < page.index("set aside") < page.index("norm-jump/large")


def test_every_format_is_written_and_named() -> None:
    assert {form.value for form in ReportFormat} == {form.value for form in options.ReportFormat} - {"text"}
    for form in ReportFormat:
        text = render(nasty(), form, ANALYZERS)
        assert text.endswith("\n")
        assert "norm-jump/large" in text
        assert MEDIA_TYPES[form]
        assert SUFFIXES[form].startswith(".")


def test_references_that_the_table_adds_are_in_the_json() -> None:
    (found,) = records.report(plain(run_of(stored(finding("svd-diff/not-the-base", taxonomies=())))))["findings"]
    assert {"scheme": "cwe", "version": "4.18", "id": "CWE-345"} in found["taxonomies"]


def test_findings_come_most_severe_first_in_every_format() -> None:
    document = nasty()
    assert [each["severity"] for each in records.report(document)["findings"]] == ["high", "info"]
    assert re.search(r"\| high \|.*\n\| info \|", markdown(document))
    assert re.search(r"^high .*^info ", printed(document), flags=re.MULTILINE | re.DOTALL)


def test_text_shows_what_a_model_wrote_and_never_acts_on_it() -> None:
    text = printed(nasty())
    assert "[red]a[/red]" in text
    assert "[b]tok[/b]" in text
    assert "20 more" in text


def test_a_line_break_of_a_model_starts_no_line_of_markdown() -> None:
    page = markdown(nasty())
    assert not [line for line in page.splitlines() if line.startswith("- d")]
    assert not re.search(r"(?<!\\)<img", page)
    tables = [line for line in page.splitlines() if line.startswith("|")]
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    assert columns <= {3, 5, 7}


def test_text_and_markdown_carry_verdict_score_and_belief() -> None:
    for text in (printed(nasty()), markdown(nasty())):
        assert "fail" in text.lower()
        assert "0.97" in text
        assert "0.30%" in text
        assert "said by the card" in text
        assert "2026-01-02" in text or "01a208c9" in text


@pytest.mark.parametrize(
    ("verdict", "allowed", "code"),
    [(Verdict.PASS, False, 0), (Verdict.FAIL, False, 1), (Verdict.FAIL, True, 1), (Verdict.ERROR, False, 2),
     (Verdict.ERROR, True, 2), (Verdict.INCOMPLETE, False, 3), (Verdict.INCOMPLETE, True, 0), (None, True, 3)],
)  # fmt: skip
def test_every_verdict_has_its_exit_code(verdict: Verdict | None, allowed: bool, code: int) -> None:
    assert exit_code(verdict, allow_incomplete=allowed) == code
