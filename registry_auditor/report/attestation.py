"""A signed statement about what an audit found, bound to the digest of the model: in-toto in a DSSE envelope.

The predicate is the Simple Verification Result (https://in-toto.io/attestation/svr/v0.1): a list of properties that
were verified, a verifier and a time. A consumer that only reads these stays safe, since what was not verified is not
listed; Test Result has no time, and a SLSA Verification Summary speaks of builds. Everything else stands under
`registryAuditor`, with the time until which the statement holds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]  # it has no __all__

from registry_auditor.domain import Audit, AuditState, Severity, Verdict
from registry_auditor.errors import AuditorError, UsageError
from registry_auditor.report.document import Report
from registry_auditor.report.identity import digest_of_base, digest_of_model, digest_set
from registry_auditor.report.policy import PolicyFile
from registry_auditor.report.visible import visible

Json = dict[str, Any]

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/svr/v0.1"
AUDITED, PASSED, COMPLETE, ACCEPTED = (
    f"REGISTRY_AUDITOR_{what}" for what in ("AUDITED", "VERDICT_PASS", "COMPLETE", "POLICY_ACCEPTED")
)
"""The properties: it was audited · with verdict pass · everything was looked at · the policy named there accepts it."""
MAX_BYTES = 2**20


class NotAttested(AuditorError):
    """An attestation does not prove what was asked of it."""


@dataclass(frozen=True)
class Terms:
    """Until when a statement holds, and what the model was held against."""

    now: datetime
    valid_for: timedelta
    accepted_by: PolicyFile | None = None
    """The policy that accepts the model; whoever calls has asked it."""


def statement(document: Report, terms: Terms) -> Json:
    """What is signed. Raises UsageError for an audit that is not done, or of a model without a digest."""
    audit = document.audit
    digest = digest_of_model(audit)
    if audit.state is not AuditState.DONE or audit.finished_at is None or audit.verdict is None:
        raise UsageError(f"audit {audit.id} is {audit.state}: only what is done can be attested; wait, or audit it now")
    if digest is None:
        raise UsageError(f"audit {audit.id} never read its model: there is nothing to attest; audit it again")
    return {
        "_type": STATEMENT,
        "subject": [{"name": str(audit.job.model), "digest": digest_set(digest)}],
        "predicateType": PREDICATE,
        "predicate": {
            "verifier": _verifier(terms.accepted_by),
            "timeCreated": _time(terms.now),
            "properties": _properties(document, terms),
            "registryAuditor": {**_result(document, audit), "expires": _time(terms.now + terms.valid_for)},
        },
    }


def sign(content: Mapping[str, Any], signer: CryptoSigner) -> str:
    """The envelope with the signed statement, as JSON."""
    payload = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    envelope = Envelope(payload, PAYLOAD, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), indent=2) + "\n"


def opened(content: bytes, key: SSlibKey) -> Json:
    """The statement in an envelope that `key` has signed.

    Raises NotAttested if it was signed by another key, changed since, or states something else.
    """
    envelope = _envelope(content)
    try:
        envelope.verify([key], 1)
    except UnverifiedSignatureError:
        named = visible(", ".join(str(id_)[:12] for id_ in envelope.signatures), 100) or "nobody"
        text = f"the signature is not that of key {key.keyid[:12]} (it names {named}), or the content was changed since"
        raise NotAttested(text) from None
    if envelope.payload_type != PAYLOAD:
        raise NotAttested(f"it was signed as {visible(envelope.payload_type, 100)}, not as an in-toto statement")
    try:
        found = json.loads(envelope.payload)
    except ValueError:
        raise NotAttested("what was signed is no JSON") from None
    if not isinstance(found, dict) or found.get("_type") != STATEMENT or found.get("predicateType") != PREDICATE:
        raise NotAttested("what was signed is no Simple Verification Result, which is what `attest` writes")
    return found


def _envelope(content: bytes) -> Envelope:
    if len(content) > MAX_BYTES:
        raise NotAttested("it is too large for an attestation")
    try:
        return Envelope.from_dict(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError):
        raise NotAttested("it is no DSSE envelope, which is what `attest` writes") from None


def _verifier(policy: PolicyFile | None) -> Json:
    verifier: Json = {"id": f"pkg:pypi/registry-auditor@{version('registry-auditor')}"}
    if policy is not None:
        verifier["policy"] = {"name": policy.name, "digest": {"sha256": policy.sha256}}
    return verifier


def _properties(document: Report, terms: Terms) -> list[str]:
    verdict, _ = _verdict(document)
    is_complete = bool(document.runs) and not document.coverage.skipped
    is_complete &= verdict is not Verdict.ERROR and all(stored.run.reason is None for stored in document.runs)
    verified = [
        (AUDITED, verdict is not Verdict.ERROR),
        (PASSED, verdict is Verdict.PASS),
        (COMPLETE, is_complete),
        *(
            (f"REGISTRY_AUDITOR_NO_FINDING_AT_OR_ABOVE_{each.upper()}", is_complete and not _at_least(document, each))
            for each in Severity
        ),
        (ACCEPTED, terms.accepted_by is not None),
    ]
    return [name for name, is_so in verified if is_so]


def _verdict(document: Report) -> tuple[Verdict | None, str | None]:
    """The verdict of the audit; `fail` if findings count by now that people had set aside when it was given."""
    audit = document.audit
    again = _at_least(document, audit.job.fail_on)
    if again and audit.verdict in (Verdict.PASS, Verdict.INCOMPLETE):
        return Verdict.FAIL, f"findings count that did not when it was audited: {', '.join(again)}"
    return audit.verdict, audit.reason


def _at_least(document: Report, severity: Severity) -> list[str]:
    """The codes of the findings that count and are as bad as that."""
    grave = [each for each in document.found if each.standing.counts and each.finding.severity.at_least(severity)]
    return list(dict.fromkeys(each.finding.code for each in grave))


def _result(document: Report, audit: Audit) -> Json:
    base = None if audit.job.base is None else {
        "name": str(audit.job.base),
        "digest": digest_set(digest_of_base(audit) or ""),
        "source": audit.job.base_source,
    }  # fmt: skip
    verdict, reason = _verdict(document)
    counts = Counter(each.finding.severity for each in document.found if each.standing.counts)
    return {
        "audit": audit.id,
        "verdict": verdict,
        "reason": reason,
        "auditedAt": None if audit.finished_at is None else _time(audit.finished_at),
        "base": base,
        "analyzers": [
            {"name": run.step.analyzer, "version": run.step.version, "params": run.step.params, "status": run.status}
            for run in (stored.run for stored in document.runs)
        ],
        "coverage": {"seen": document.coverage.seen, "gaps": len(document.coverage.skipped)},
        "findings": {severity: counts[severity] for severity in Severity},
        "setAside": sum(not each.standing.counts for each in document.found),
    }


def _time(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
