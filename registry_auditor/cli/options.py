"""Options that several commands share, and what they turn into."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.domain import Severity

if TYPE_CHECKING:
    from registry_auditor.config import Settings
    from registry_auditor.store import Store


class Format(StrEnum):
    """How a list or a record is printed."""

    TEXT = "text"
    JSON = "json"


class ReportFormat(StrEnum):
    """How an audit is reported."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    SARIF = "sarif"
    CYCLONEDX = "cyclonedx"


class LogFormat(StrEnum):
    """How a server logs."""

    TEXT = "text"
    JSON = "json"


DB = Annotated[str | None, typer.Option("--db", metavar="URL", help="Database; an SQLite file of yours by default.")]
Banks = Annotated[str | None, typer.Option("--banks", metavar="URL", help="Folder or URL of the bank files.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there, not to stdout.")]
AsFormat = Annotated[Format, typer.Option("--format", "-f", help="text or json.")]
AsReport = Annotated[
    ReportFormat, typer.Option("--format", "-f", help="text, json, markdown, html, sarif or cyclonedx.")
]
Analyzers = Annotated[
    list[str] | None, typer.Option("--analyzer", "-a", metavar="NAME", help="Run only this one; may be repeated.")
]
FailOn = Annotated[Severity | None, typer.Option("--fail-on", help="Lowest severity that exits with 1 [high].")]
AllowIncomplete = Annotated[
    bool | None, typer.Option("--allow-incomplete", help="Exit with 0 instead of 3 when something was not looked at.")
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or a torch device such as cuda:1 [auto].")]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="S", min=0.001, help="Seconds for each analyzer.")]
Broker = Annotated[str | None, typer.Option("--broker", metavar="URL", help="Any Celery broker [a local Redis].")]
LogAs = Annotated[LogFormat, typer.Option("--log-format", help="text, or json: one object a line.")]
Registries = Annotated[
    list[str] | None,
    typer.Option("--registry", "-r", metavar="SPEC", help="dir:FOLDER, hf:AUTHOR or mlflow:URL; may be repeated."),
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")]
NoAuth = Annotated[bool, typer.Option("--no-auth", help="Ask nobody for a token; on a loopback address only.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")]
After = Annotated[str | None, typer.Option("--after", metavar="NEXT", help="Go on after a previous page.")]
Model = Annotated[str | None, typer.Option("--model", metavar="GLOB", help="Only these, such as 'hf:org/*'.")]
AuditId = Annotated[str, typer.Argument(metavar="AUDIT", help="Id of an audit, or its first characters.")]
OfAudit = Annotated[str | None, typer.Option("--audit", metavar="ID", help="Only of this audit.")]


def open_store(settings: Settings) -> Store:
    """The store of the settings, made first if it is the user's own and does not exist yet."""
    from registry_auditor.store import Store
    from registry_auditor.store.engine import parse, sqlite_file

    file = sqlite_file(parse(settings.db))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    return Store.open(settings.db, banks=settings.banks, create=True)


def stored(db: str | None, banks: str | None = None) -> Store:
    """The store that `--db` and the settings name."""
    from registry_auditor.config import load

    return open_store(load(db=db, banks=banks))
