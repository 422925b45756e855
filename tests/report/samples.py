"""Reports that fill every field, with text that would be markup anywhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from registry_auditor.domain import (
    Audit,
    AuditState,
    BaseSource,
    Coverage,
    Finding,
    Gap,
    Job,
    Justification,
    ModelRef,
    Opinion,
    Run,
    RunStatus,
    Severity,
    Side,
    Site,
    Standing,
    StepKey,
    SubjectKey,
    Suppression,
    Taxonomy,
    TokenReadout,
    Triage,
    TriageState,
    Verdict,
)
from registry_auditor.report import Report
from registry_auditor.store import BankInfo, StoredDirection, StoredFinding, StoredRun
from registry_auditor.store.catalogue import AnalyzerInfo
from registry_auditor.store.records import NOBODY
from registry_auditor.store.rows import fingerprint

NASTY = "[red]a[/red] | `b` *c* <img src=x> #\n- d"
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
AUDIT = "01a208c9-9bb3-7bcb-92d1-a3e4ee4c311c"
MODEL = ModelRef("hf", "org/tuned", "a" * 40)
SUBJECT = SubjectKey("sha256:" + "a" * 64, "sha256:" + "b" * 64)

MANUAL = """What norms say.

What it reports:
    These findings:

    - `norm-jump/large` (high): an update as large as the weight
      that it changes.
    - `norm-jump/small`, `norm-jump/tiny` (low): hardly any.

Why it matters:
    It does.
"""
ANALYZERS = (
    AnalyzerInfo("norm-jump", 2, (), "An older page.", "An older page.", {}),
    AnalyzerInfo("norm-jump", 3, (), "What norms say.", MANUAL, {}),
    AnalyzerInfo("svd-diff", 2, ("base",), "What changed.", "What changed.", {}),
)


def finding(code: str = "norm-jump/large", severity: Severity = Severity.HIGH, **changes: Any) -> Finding:
    made = Finding(
        code, severity, "seen", score=0.97, threshold=0.9, fpr=0.003, site=Site("a.weight", 1, "mlp.up"),
        evidence={"x": [1, None, "y"]}, taxonomies=(Taxonomy("mitre-atlas", "5.0", "AML.T0018"),),
    )  # fmt: skip
    return replace(made, **changes)


def stored(found: Finding, number: int = 0, standing: Standing = NOBODY, model: ModelRef = MODEL) -> StoredFinding:
    analyzer = found.code.partition("/")[0]
    id_ = f"01a208c9-9bb3-7bcb-92d1-{number:012x}"
    return StoredFinding(id_, fingerprint(found, model), AUDIT, model, analyzer, found, NOW, standing)


def run_of(*found: StoredFinding, **changes: Any) -> StoredRun:
    """A finished run of the analyzer of the first of `found`."""
    analyzer = found[0].analyzer if found else "norm-jump"
    version = {"norm-jump": 3}.get(analyzer, 2)
    step = StepKey(analyzer, version, "digest")
    findings = tuple(each.finding for each in found)
    run = Run(step, SUBJECT, {"a": 1}, RunStatus.OK, None, 1.23456, "cpu", 2**30, Coverage(7), findings)
    return StoredRun(f"run of {analyzer}", replace(run, **changes), (), found)


def audit_of(**changes: Any) -> Audit:
    job = Job(MODEL, ModelRef("hf", "org/base", "b" * 40), BaseSource.CARD)
    audit = Audit(AUDIT, job, AuditState.DONE, Verdict.PASS, "fine", NOW, NOW, NOW, 1, None, None, SUBJECT)
    return replace(audit, **changes)


def plain(*runs: StoredRun, **changes: Any) -> Report:
    """A finished audit with these runs."""
    return Report(audit_of(**changes), runs, (), 0)


def nasty(**changes: Any) -> Report:
    """A report that fills every field, with text that would be markup anywhere."""
    site = Site(NASTY, None, "other", Side.WRITES)
    model = ModelRef("dir", f"/models/{NASTY}", "sha256:" + "a" * 64)
    grave = stored(finding(message=NASTY, site=site), 1, model=model)
    quiet = finding(
        severity=Severity.INFO, message=NASTY, score=None, threshold=None, fpr=None, site=None
    )  # fmt: skip
    found = (stored(quiet, 2, model=model), grave)
    gaps = tuple(Gap(f"{NASTY} {number}", NASTY) for number in range(30))
    bank = BankInfo("c" * 64, "norm-jump", 2, "sha256:b", 64)
    run = run_of(*found, status=RunStatus.TIMED_OUT, reason=NASTY, coverage=Coverage(7, gaps))
    readout = TokenReadout((("[b]tok[/b]", 3.0), ("|", 2.0)), ((" ", -3.0),), 1e-5)
    directions = tuple(
        StoredDirection("c" * 64, rank, site, rank, 3.0 - rank, 1e-6, tokens, (ModelRef("dir", "/m", "sha256:a"),))
        for rank, tokens in enumerate((readout, None))
    )
    job = Job(model, ModelRef("hf", "org/base", "b" * 40), BaseSource.CARD)
    audit = audit_of(job=job, verdict=Verdict.FAIL, reason=NASTY)
    return replace(Report(audit, (replace(run, banks=(bank,)),), directions, 1, directions), **changes)


def said(state: TriageState, *, comment: str | None = None, justification: Justification | None = None) -> Standing:
    """What a finding that somebody has triaged has."""
    triage = Triage(state, justification, comment=comment)
    return Standing(Opinion("01a208c9-9bb3-7bcb-92d1-0000000000aa", "f", triage, NOW, "ann"))


def suppressed(reason: str = "a test model") -> Standing:
    """What a finding that a rule covers has."""
    end = NOW + timedelta(days=30)
    id_ = "01a208c9-9bb3-7bcb-92d1-0000000000bb"
    return Standing(None, Suppression(id_, "norm-jump/*", None, None, reason, None, NOW, "bob", end, None, None))
