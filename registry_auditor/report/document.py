"""One finished audit, gathered from the store: what every format of a report is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry_auditor.domain import Audit, Coverage, Finding, Verdict, total
from registry_auditor.store import BankInfo, Store, StoredDirection, StoredFinding, StoredRun

CONSIDERED, SHOWN = 400, 12
"""Of how many of the strongest directions a report shows how many; the bank has all of them."""

READABLE = 1e-3
"""p-value below which the tokens of a direction are worth reading."""

EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.ERROR: 2, Verdict.INCOMPLETE: 3}


@dataclass(frozen=True)
class Report:
    """An audit with its runs and its strongest directions, and the exit code that it means."""

    audit: Audit
    runs: tuple[StoredRun, ...]
    directions: tuple[StoredDirection, ...]
    """A few of the strongest: readable ones first, then by strength."""
    exit_code: int
    considered: tuple[StoredDirection, ...] = ()
    """Those among which `directions` were chosen, strongest first."""

    @property
    def found(self) -> list[StoredFinding]:
        """Every finding, most severe first; those that people have set aside come last."""
        found = [each for stored in self.runs for each in stored.findings]
        return sorted(found, key=lambda each: (not each.standing.counts, -each.finding.severity.weight))

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        """Each finding with the analyzer that made it, in the same order."""
        return [(each.analyzer, each.finding) for each in self.found]

    @property
    def banks(self) -> list[BankInfo]:
        """Every direction bank of the audit."""
        return [bank for stored in self.runs for bank in stored.banks]

    @property
    def coverage(self) -> Coverage:
        """What the runs together looked at."""
        return coverage(self.runs)


def gather(store: Store, audit_id: str, *, allow_incomplete: bool = False) -> Report:
    """The report of one audit. Raises NotFound if there is no such audit."""
    audit = store.audit(audit_id)
    strongest = store.directions.list(audit_id=audit.id, limit=CONSIDERED).items
    shown = tuple(sorted(strongest, key=is_unreadable)[:SHOWN])
    return Report(audit, tuple(store.runs(audit.id)), shown, exit_code(audit.verdict, allow_incomplete), strongest)


def coverage(runs: Sequence[StoredRun]) -> Coverage:
    """What `runs` together looked at: the most that any of them saw, and every gap."""
    seen = max((stored.run.coverage.seen for stored in runs), default=0)
    return Coverage(seen, total(stored.run.coverage for stored in runs).skipped)


def is_unreadable(direction: StoredDirection) -> bool:
    """Whether its tokens say no more than those of a random direction would."""
    return direction.tokens is None or direction.tokens.p_value > READABLE


def exit_code(verdict: Verdict | None, allow_incomplete: bool) -> int:
    """What the command line returns for a verdict; 3 for an audit that is not done."""
    if verdict is Verdict.INCOMPLETE and allow_incomplete:
        return 0
    return 3 if verdict is None else EXIT_CODES[verdict]
