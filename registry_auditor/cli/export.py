"""Findings for other programs: all of them, as a spreadsheet or as lines of JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry_auditor.store import StoredFinding

PAGE = 1000


class ExportFormat(StrEnum):
    """How findings are written."""

    CSV = "csv"
    JSONL = "jsonl"


COLUMNS = (
    "id", "fingerprint", "audit", "model", "analyzer", "created_at", "code", "severity", "score", "threshold", "fpr",
    "message", "tensor", "layer", "role", "side", "state", "counts", "justification", "owner", "comment", "triaged_by",
    "triage_expires_at", "suppression", "suppressed_until", "evidence",
)  # fmt: skip


def write(found: Iterable[StoredFinding], form: ExportFormat, file: IO[str]) -> None:
    """One line a finding; they are not kept in memory."""
    from registry_auditor.report import records

    if form is ExportFormat.JSONL:
        for each in found:
            file.write(json.dumps(records.stored_finding(each), ensure_ascii=False) + "\n")
        return
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for each in found:
        values = _flat(records.stored_finding(each))
        table.writerow([_cell(values.get(name)) for name in COLUMNS])


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    triage, suppression = record["triage"] or {}, record["suppression"] or {}
    said = {name: triage.get(name) for name in ("justification", "owner", "comment")}
    return {
        **record,
        **(record["site"] or {}),
        **said,
        "triaged_by": triage.get("by"),
        "triage_expires_at": triage.get("expires_at"),
        "suppression": suppression.get("id"),
        "suppressed_until": suppression.get("expires_at"),
        "evidence": json.dumps(record["evidence"], ensure_ascii=False),
    }


def _cell(value: Any) -> Any:
    # A spreadsheet runs text that begins so, and the names and tokens of a stranger's model come from the stranger.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
