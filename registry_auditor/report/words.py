"""Sentences and cells that the readable reports share."""

from __future__ import annotations

from collections.abc import Sequence

from registry_auditor.domain import Audit, Finding, ModelRef, Side, Site, Standing, TokenReadout, TriageState
from registry_auditor.store import StoredDirection

DIGEST_CHARACTERS = 12


def model(ref: ModelRef) -> str:
    """A model with its revision cut to what a person compares."""
    if ref.revision is None:
        return str(ref)
    kind, colon, digest = ref.revision.rpartition(":")
    return f"{ref.registry}:{ref.name}@{kind}{colon}{digest[:DIGEST_CHARACTERS]}"


def against(audit: Audit) -> str:
    """The base and who says that it is the base."""
    if audit.job.base is None:
        return "no base"
    return f"{model(audit.job.base)} (said by the {audit.job.base_source})"


def score(finding: Finding) -> str:
    """Score, threshold and belief: `0.97 ≥ 0.9, FPR 0.3 %`."""
    if finding.score is None:
        return "–"
    parts = [f"{finding.score:.3g}"]
    if finding.threshold is not None:
        parts[0] += (
            f" ≥ {finding.threshold:.3g}" if finding.score >= finding.threshold else f" < {finding.threshold:.3g}"
        )
        parts.append("uncalibrated" if finding.fpr is None else f"FPR {finding.fpr:.2%}")
    return ", ".join(parts)


def place(site: Site) -> str:
    """Layer and role, or the tensor where there is no layer."""
    return site.tensor if site.layer is None else f"{site.layer} {site.role}"


def verb(direction: StoredDirection) -> str:
    """What the direction does."""
    return "writes" if direction.site.side is Side.WRITES else "reads"


def tokens(readout: TokenReadout | None, *, count: int = 6) -> tuple[str, str, str]:
    """Top tokens, bottom tokens and p-value as cells."""
    if readout is None:
        return "–", "–", "–"
    return _row(readout.top, count), _row(readout.bottom, count), f"{readout.p_value:.1g}"


def _row(pairs: Sequence[tuple[str, float]], count: int) -> str:
    return " ".join(text.strip() or repr(text) for text, _ in pairs[:count])


def standing(among: Standing) -> str:
    """Where a finding stands among people: `false positive (ann): a test model`; empty if nobody said anything."""
    if among.suppression is not None:
        rule = among.suppression
        return f"suppressed until {rule.expires_at:%Y-%m-%d} ({rule.by}): {rule.reason}"
    if among.opinion is None or among.state is TriageState.NOT_SET:
        return ""
    triage = among.opinion.triage
    why = ": ".join(filter(None, (triage.justification and triage.justification.replace("_", " "), triage.comment)))
    return f"{among.state.replace('_', ' ')} ({among.opinion.by})" + (f": {why}" if why else "")
