"""What a signed statement proves about a model, as things stand now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from registry_auditor.domain import Verdict
from registry_auditor.report.attestation import ACCEPTED, PASSED, NotAttested
from registry_auditor.report.duration import age
from registry_auditor.report.gate import Decision, Ground, Reason
from registry_auditor.report.identity import digest_set
from registry_auditor.report.policy import PolicyFile
from registry_auditor.report.visible import visible

SKEW = timedelta(minutes=5)
"""How much the clocks of two machines may differ."""


@dataclass(frozen=True)
class Claim:
    """What a statement says, as far as it is asked for."""

    subject: str
    digests: Mapping[str, str]
    properties: frozenset[str]
    verdict: str
    reason: str
    created_at: datetime
    audited_at: datetime
    expires_at: datetime
    policy: str | None
    """The sha256 of the policy that accepted the model."""

    @classmethod
    def of(cls, statement: Mapping[str, Any]) -> Claim:
        """Raises NotAttested if something is missing or of another type."""
        try:
            (subject,) = statement["subject"]
            predicate = statement["predicate"]
            result = predicate["registryAuditor"]
            policy = predicate["verifier"].get("policy")
            return cls(
                str(subject["name"]), dict(subject["digest"]), frozenset(predicate["properties"]),
                str(result["verdict"]), str(result["reason"]), _moment(predicate["timeCreated"]),
                _moment(result["auditedAt"]), _moment(result["expires"]), policy and str(policy["digest"]["sha256"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError):
            raise NotAttested("the statement lacks a part that `attest` writes; make it again") from None


def verify(claim: Claim, *, now: datetime, digest: str | None = None, policy: PolicyFile | None = None) -> Decision:
    """Whether the claim holds now, for the model with `digest` and under `policy`, where these are given."""
    return Decision(
        (*_of_model(claim, digest), *_of_time(claim, now), *_of_policy(claim, policy, now), *_of_verdict(claim, policy))
    )


def _of_model(claim: Claim, digest: str | None) -> Iterator[Reason]:
    if digest is not None and not digest_set(digest).items() <= claim.digests.items():
        attested = ", ".join(f"{kind}:{value}" for kind, value in claim.digests.items())
        text = f"it is about another model: {visible(claim.subject)} ({visible(attested)}), and this one is {digest}"
        yield Reason(Ground.UNPROVEN, text)


def _of_time(claim: Claim, now: datetime) -> Iterator[Reason]:
    if now >= claim.expires_at:
        text = f"it expired {age(now - claim.expires_at)} ago, at {claim.expires_at:%Y-%m-%d %H:%M} UTC"
        yield Reason(Ground.UNPROVEN, text)
    if claim.created_at > now + SKEW:
        text = f"it was made at {claim.created_at:%Y-%m-%d %H:%M} UTC, which is yet to come; look at the clocks"
        yield Reason(Ground.UNPROVEN, text)


def _of_policy(claim: Claim, policy: PolicyFile | None, now: datetime) -> Iterator[Reason]:
    if policy is None:
        return
    if ACCEPTED not in claim.properties or claim.policy is None:
        yield Reason(Ground.UNPROVEN, f"it was not held against a policy; attest with --policy {policy.name}")
    elif claim.policy != policy.sha256:
        text = f"it was held against another policy ({visible(claim.policy)}) than {policy.name} ({policy.sha256})"
        yield Reason(Ground.UNPROVEN, text)
    elif policy.policy.max_age is not None and now - claim.audited_at > policy.policy.max_age:
        text = f"the audit is {age(now - claim.audited_at)} old, and may be {age(policy.policy.max_age)} at most"
        yield Reason(Ground.UNPROVEN, text)


_GROUNDS = {Verdict.FAIL.value: Ground.FINDING, Verdict.ERROR.value: Ground.ERROR}


def _of_verdict(claim: Claim, policy: PolicyFile | None) -> Iterator[Reason]:
    """Without a policy of one's own the verdict must be `pass`: whoever attests may have held it against a lax one."""
    if policy is None and PASSED not in claim.properties:
        ground = _GROUNDS.get(claim.verdict, Ground.UNPROVEN)
        yield Reason(ground, f"the verdict is {visible(claim.verdict)}: {visible(claim.reason)}")


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
