"""A report as Markdown, fit to be pasted into a model card."""

from __future__ import annotations

import re
from collections.abc import Iterator

from registry_auditor.report import words
from registry_auditor.report.document import Report
from registry_auditor.report.visible import visible
from registry_auditor.store import StoredFinding

GAPS_SHOWN = 20


def markdown(document: Report) -> str:
    """The report; text that comes from a model is escaped, so that it cannot break out of its cell."""
    return "\n".join((*_summary(document), *_findings(document), *_directions(document), *_coverage(document))) + "\n"


def _summary(document: Report) -> Iterator[str]:
    audit = document.audit
    yield f"## Audit: {audit.verdict or audit.state}"
    yield ""
    yield f"- **Model**: {_cell(words.model(audit.job.model))}"
    yield f"- **Base**: {_cell(words.against(audit))}"
    yield f"- **Why**: {_cell(audit.reason or 'not finished')}"
    yield f"- **Audit**: `{audit.id}`" + (f", {audit.finished_at:%Y-%m-%d %H:%M} UTC" if audit.finished_at else "")
    runs = ", ".join(f"{each.run.step.analyzer} v{each.run.step.version}" for each in document.runs)
    yield f"- **Analyzers**: {_cell(runs or 'none ran')}"
    yield ""


def _findings(document: Report) -> Iterator[str]:
    yield "### Findings"
    yield ""
    counted = [each for each in document.found if each.standing.counts]
    set_aside = [each for each in document.found if not each.standing.counts]
    if counted:
        yield from _table(("Severity", "Code", "Score", "What was seen"), [_row(each) for each in counted])
    else:
        yield "None." if not set_aside else "None that counts."
    yield ""
    if set_aside:
        yield "### Findings that people have set aside"
        yield ""
        header = ("Severity", "Code", "Score", "What was seen", "Why it does not count")
        yield from _table(header, [(*_row(each), words.standing(each.standing)) for each in set_aside])
        yield ""


def _row(each: StoredFinding) -> tuple[str, ...]:
    finding = each.finding
    said = words.standing(each.standing) if each.standing.counts else ""
    return finding.severity, finding.code, words.score(finding), finding.message + (f" ({said})" if said else "")


def _directions(document: Report) -> Iterator[str]:
    if not document.directions:
        return
    yield "### Strongest directions, readable ones first"
    yield ""
    yield from _table(
        ("Strength", "Layer and role", "Side", "Top tokens", "Bottom tokens", "p"),
        [
            (f"{each.strength:.3g}", words.place(each.site), words.verb(each), *words.tokens(each.tokens))
            for each in document.directions
        ],
    )
    yield ""


def _coverage(document: Report) -> Iterator[str]:
    coverage = document.coverage
    yield "### Coverage"
    yield ""
    yield f"{coverage.seen} tensors were looked at, {len(coverage.skipped)} were not."
    if coverage.skipped:
        yield ""
        yield from _table(("Not looked at", "Why"), [(gap.tensor, gap.why) for gap in coverage.skipped[:GAPS_SHOWN]])
    if len(coverage.skipped) > GAPS_SHOWN:
        yield f"\nand {len(coverage.skipped) - GAPS_SHOWN} more."


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(text: str) -> str:
    """`text` on one line with everything escaped that Markdown or HTML would act on."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", visible(" ".join(text.split())))
