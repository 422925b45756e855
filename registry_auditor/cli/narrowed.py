"""The options by which findings are chosen, once for every command that shows them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Annotated, Any, get_type_hints

import typer

from registry_auditor.cli import options
from registry_auditor.cli.times import ago
from registry_auditor.domain import FindingOrder, Severity, TriageState

OPTIONS: dict[str, Any] = {
    "model_glob": options.Model,
    "base_glob": Annotated[str | None, typer.Option("--base", metavar="GLOB", help="Only of audits against these.")],
    "audit_id": options.OfAudit,
    "severity": Annotated[Severity | None, typer.Option("--severity", help="This one or worse.")],
    "code": Annotated[str | None, typer.Option("--code", metavar="GLOB", help="Such as 'svd-diff/*'.")],
    "analyzer": Annotated[str | None, typer.Option("--analyzer", metavar="NAME", help="Only of this one.")],
    "state": Annotated[TriageState | None, typer.Option("--state", help="Only in this state of triage.")],
    "counts": Annotated[
        bool | None, typer.Option("--counting/--set-aside", help="Only those that verdicts heed, or only the others.")
    ],
    "since": Annotated[
        datetime | None, typer.Option("--since", metavar="TIME", parser=ago, help="Found since 7d or 2027-01-31.")
    ],
    "until": Annotated[datetime | None, typer.Option("--until", metavar="TIME", parser=ago, help="Found before that.")],
    "max_fpr": Annotated[
        float | None, typer.Option("--max-fpr", metavar="P", min=0, max=1, help="Largest false-positive rate.")
    ],
    "calibrated": Annotated[
        bool | None, typer.Option("--calibrated/--uncalibrated", help="Whether somebody has measured that rate.")
    ],
    "text": Annotated[str | None, typer.Option("--text", metavar="WORDS", help="All of them in the message.")],
    "fingerprint": Annotated[
        str | None, typer.Option("--fingerprint", metavar="HEX", help="The same in any revision.")
    ],
    "sort": Annotated[FindingOrder | None, typer.Option("--sort", help="What comes first [newest].")],
}
"""By the filter of `Store.findings` that an option sets."""


def narrowed(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with all of OPTIONS before its own; it gets what they say as its first argument."""
    _, *own = inspect.signature(command).parameters.values()
    written = SimpleNamespace(__annotations__={each.name: each.annotation for each in own})
    hints = get_type_hints(written, command.__globals__, include_extras=True)

    @functools.wraps(command)
    def asked(**given: Any) -> None:
        filters = {name: given.pop(name) for name in OPTIONS}
        command(filters, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        *(inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in OPTIONS.items()),
        *(each.replace(kind=keyword, annotation=hints[each.name]) for each in own),
    ]
    asked.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    asked.__annotations__ = {each.name: each.annotation for each in parameters}
    return asked
