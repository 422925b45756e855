"""`registry-auditor attest` and `verify`: a verdict that travels with the model."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.gate import Model, newest
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import console, print_json
from registry_auditor.errors import AuditorError, UsageError

if TYPE_CHECKING:
    from registry_auditor.report import Report
    from registry_auditor.report.gate import Decision
    from registry_auditor.report.policy import PolicyFile
    from registry_auditor.report.verification import Claim

DIGEST = re.compile(r"(?:^|@)(sha256:[0-9a-f]{64}|[0-9a-f]{40})$")
"""A digest, or a reference that ends in one."""
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there, not to stdout.")]


def attest(
    model: Model,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="FILE", help="Private key, PEM; otherwise $REGISTRY_AUDITOR_SIGNING_KEY holds it."
        ),
    ] = None,
    valid_for: Annotated[str, typer.Option("--valid-for", metavar="SPAN", help="12h, 30d or 4w.")] = "30d",
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Sign only if this policy accepts it, and say so.")
    ] = None,
    output: Output = None,
    db: options.DB = None,
) -> int:
    """Sign what the newest audit of a model found: an in-toto statement, bound to the digest of the model.

    The key is Ed25519 or ECDSA: openssl genpkey -algorithm ed25519 -out audit.key

    Example: registry-auditor attest ./my-finetune --key audit.key --policy policy.toml --output audit.intoto.json
    """
    from registry_auditor.config import load
    from registry_auditor.report import attestation
    from registry_auditor.report.duration import duration
    from registry_auditor.report.keys import signer
    from registry_auditor.report.policy import load as read

    signing, span, rules = signer(key), duration(valid_for), read(policy) if policy else None
    settings = load(db=db)
    with options.open_store(settings) as store:
        document = newest(model, store, settings)
    if document is None:
        raise UsageError(f"{model}: this revision was never audited; run: registry-auditor audit {model}")
    now = datetime.now(UTC)
    refused = _refused(document, rules, now)
    if refused is not None:
        return refused
    content = attestation.statement(document, attestation.Terms(now, span, rules))
    with console(output) as out:
        out.file.write(attestation.sign(content, signing))
    return 0


def verify(
    attestation: Annotated[Path, typer.Argument(metavar="FILE", help="What `attest` has written.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Public key of whoever signed it, PEM.")],
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Folder, reference or digest that it must be about.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Policy that must have accepted the model.")
    ] = None,
    form: options.AsFormat = Format.TEXT,
) -> int:
    """Check an attestation: its signature, that it is about this model, has not expired, and that the verdict is good.

    A folder is hashed again. With a policy, that one must have accepted the model; without, the verdict must be pass.
    Exits with 0 if all of it holds, 1 for findings, 2 for an audit that ended with an error, 3 for what is not proved.

    Example: registry-auditor verify audit.intoto.json --key audit.pub --model ./my-finetune
    """
    from registry_auditor.report import verification
    from registry_auditor.report.attestation import NotAttested, opened
    from registry_auditor.report.gate import Decision, Ground, Reason
    from registry_auditor.report.keys import public_key
    from registry_auditor.report.policy import load as read

    signer, rules, content = public_key(key), read(policy) if policy else None, _read(attestation)
    digest = None if model is None else _digest(model)
    claim = None
    try:
        claim = verification.Claim.of(opened(content, signer))
        decision = verification.verify(claim, now=datetime.now(UTC), digest=digest, policy=rules)
    except NotAttested as error:
        decision = Decision((Reason(Ground.UNPROVEN, str(error)),))
    _print(claim, decision, form, is_held_against_a_model=model is not None)
    return decision.exit_code


def _refused(document: Report, policy: PolicyFile | None, now: datetime) -> int | None:
    """The exit code of the gate if the policy does not accept the model; why not goes to stderr."""
    from registry_auditor.report.gate import evaluate

    if policy is None:
        return None
    decision = evaluate(document, policy.policy, now=now)
    for reason in decision.reasons:
        typer.echo(f"registry-auditor: not attested, {reason.ground}: {reason.text}", err=True)
    return None if decision.accepted else decision.exit_code


def _read(path: Path) -> bytes:
    from registry_auditor.report.attestation import MAX_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AuditorError(f"{path}: cannot be read ({error.strerror}); name an attestation") from error


def _digest(model: str) -> str:
    """The digest of what `model` means now; a digest, and a reference that has one, mean themselves."""
    named = DIGEST.search(model)
    if named and not Path(model).exists():
        return named[1]
    from registry_auditor.config import load
    from registry_auditor.registries import Cache, resolve

    ref = resolve(model, cache=Cache(*load().downloads))
    if ref.revision is None:
        raise UsageError(f"{model}: has no revision to compare with; name a folder, or a reference with its revision")
    return ref.revision


def _print(claim: Claim | None, decision: Decision, form: Format, *, is_held_against_a_model: bool) -> None:
    if form is Format.JSON:
        print_json(_record(claim, decision))
        return
    from registry_auditor.report.visible import visible

    typer.echo("VERIFIED" if decision.accepted else "NOT VERIFIED")
    for reason in decision.reasons:
        typer.echo(f"  {reason.ground}: {reason.text}")
    if claim is None:
        return
    typer.echo(f"  about {visible(claim.subject)}")
    typer.echo(f"  verdict {visible(claim.verdict)}: {visible(claim.reason)}")
    typer.echo(f"  signed {claim.created_at:%Y-%m-%d %H:%M} UTC, until {claim.expires_at:%Y-%m-%d %H:%M} UTC")
    if not is_held_against_a_model:
        typer.echo("  held against no model; name the one that you want to use with --model")


def _record(claim: Claim | None, decision: Decision) -> dict[str, object]:
    return {
        "schema_version": "1",
        "exit_code": decision.exit_code,
        "accepted": decision.accepted,
        "reasons": [{"ground": reason.ground, "text": reason.text} for reason in decision.reasons],
        "subject": None if claim is None else {"name": claim.subject, "digest": dict(claim.digests)},
        "verdict": None if claim is None else claim.verdict,
        "properties": [] if claim is None else sorted(claim.properties),
        "created_at": None if claim is None else claim.created_at.isoformat(),
        "expires_at": None if claim is None else claim.expires_at.isoformat(),
    }
