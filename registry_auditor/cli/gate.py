"""`registry-auditor gate`: whether a policy accepts a model, by its newest audit."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.audit import perform
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_json

if TYPE_CHECKING:
    from registry_auditor.config import Settings
    from registry_auditor.domain import ModelRef
    from registry_auditor.report import Report
    from registry_auditor.report.gate import Decision
    from registry_auditor.store import Store

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A folder, hf:org/name[@rev], mlflow:name[@version], or id of an audit.")
]
Policy = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="What is accepted, as TOML; the default policy if absent."),
]
ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")
"""How an audit is named; eight characters at least, so that few names of folders look alike."""


def gate(
    model: Model,
    policy: Policy = None,
    audit: Annotated[bool, typer.Option("--audit", help="Audit it now if this revision never was.")] = False,
    base: Annotated[
        str | None, typer.Option("--base", help="Its base, for --audit; the one it names if absent.")
    ] = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> int:
    """Say whether a policy accepts a model as it is now, and if not, why; the newest audit of this revision decides.

    Exits with 0 if it is accepted, 1 for findings, 2 if the audit ended with an error, 3 if it was not audited, not
    lately or not completely, 4 for a policy that is none.

    Example: registry-auditor gate ./my-finetune --policy policy.toml
    """
    from registry_auditor.config import load
    from registry_auditor.domain import AuditState
    from registry_auditor.report.gate import evaluate
    from registry_auditor.report.policy import Policy as Rules
    from registry_auditor.report.policy import load as read

    rules = read(policy).policy if policy else Rules()
    settings = load(db=db)
    with options.open_store(settings) as store:
        document = newest(model, store, settings)
    if audit and (document is None or document.audit.state is not AuditState.DONE):
        document = perform(model, base, settings)
    now = datetime.now(UTC)
    decision = never(model) if document is None else evaluate(document, rules, now=now)
    _print(model, document, decision, form)
    return decision.exit_code


def newest(model: str, store: Store, settings: Settings) -> Report | None:
    """The newest finished audit of what `model` means; the one that is not finished if there is no other."""
    from registry_auditor.domain import AuditState
    from registry_auditor.report import gather

    if ID.fullmatch(model) and not Path(model).exists():
        return gather(store, model)
    ref = resolved(model, store, settings)
    for state in (AuditState.DONE, None):
        found = store.audits(model_glob=str(ref), state=state).items
        for record in found:
            if record.job.model == ref:  # a name may hold what a glob takes for any text
                return gather(store, record.id)
    return None


def resolved(model: str, store: Store, settings: Settings) -> ModelRef:
    """The revision that `model` means; one that is named in full and was audited is not looked for any more."""
    from registry_auditor.domain import ModelRef

    if ":" in model and "@" in model and not Path(model).exists():
        ref = ModelRef.parse(model)
        if any(record.job.model == ref for record in store.audits(model_glob=str(ref)).items):
            return ref
    from registry_auditor.registries import Cache, resolve

    return resolve(model, cache=Cache(*settings.downloads))


def never(model: str) -> Decision:
    """What a gate says of a model that was never audited."""
    from registry_auditor.report.gate import Decision, Ground, Reason

    text = f"this revision was never audited; run: registry-auditor audit {model}"
    return Decision((Reason(Ground.UNPROVEN, text),))


def record(model: str, document: Report | None, decision: Decision) -> dict[str, object]:
    """A decision as JSON."""
    from registry_auditor.report import records

    return {
        "schema_version": records.SCHEMA_VERSION,
        "exit_code": decision.exit_code,
        "accepted": decision.accepted,
        "model": model,
        "audit": None if document is None else records.audit(document.audit),
        "reasons": [{"ground": reason.ground, "text": reason.text} for reason in decision.reasons],
        "set_aside": list(decision.set_aside),
    }


def _print(model: str, document: Report | None, decision: Decision, form: Format) -> None:
    from registry_auditor.report import words
    from registry_auditor.report.visible import visible

    if form is Format.JSON:
        print_json(record(model, document, decision))
        return
    name = model if document is None else words.model(document.audit.job.model)
    typer.echo(f"{'ACCEPTED' if decision.accepted else 'REFUSED'}  {visible(name)}")
    for reason in decision.reasons:
        typer.echo(f"  {reason.ground}: {reason.text}")
    for text in decision.set_aside:
        typer.echo(f"  does not count: {text}")
    if document is not None:
        typer.echo(f"audit {document.audit.id}")
