"""`registry-auditor config`: settings and where they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_json
from registry_auditor.errors import UsageError

app = typer.Typer(no_args_is_help=True)

TABLES = {
    "analyzers": "[analyzers.svd-diff]\n# max_directions = 20",
    "hooks": '[hooks.some-id]\n# source = "hf"\n# secret_env = "HF_WEBHOOK_SECRET"',
    "notifications": '[notifications.security]\n# url = "https://example.org/audits"\n# secret_env = "AUDITS_SECRET"',
}
"""What a table of each kind looks like."""


@app.command()
def show(form: options.AsFormat = Format.TEXT) -> None:
    """Every setting, its value, and whether it comes from the environment, a file or the defaults.

    Example: registry-auditor config show
    """
    from registry_auditor.config import load, origins
    from registry_auditor.store.engine import without_password

    settings = load()
    values: dict[str, Any] = settings.model_dump(mode="json")
    values |= {key: without_password(values[key]) for key in ("db", "banks", "broker") if values[key]}
    values["registries"] = [without_password(spec) for spec in values["registries"]]
    origin = origins(settings)
    if form is Format.JSON:
        print_json({key: {"value": value, "origin": origin[key]} for key, value in values.items()})
        return
    for key, value in values.items():
        typer.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}  # {origin[key]}")


@app.command()
def init(
    path: Annotated[Path, typer.Option("--path", help="Where to write it.")] = Path("auditor.toml"),
) -> None:
    """Write a settings file with every setting explained and commented out.

    Example: registry-auditor config init
    """
    from registry_auditor.config import Settings

    lines = ["# Settings of Registry Auditor; see: registry-auditor config show", ""]
    defaults = {
        key: field.get_default(call_default_factory=True, validated_data={})
        for key, field in Settings.model_fields.items()
    }
    # Tables last: what follows one in TOML belongs to it.
    for key, default in sorted(defaults.items(), key=lambda item: isinstance(item[1], dict)):
        field = Settings.model_fields[key]
        value = field.examples[0] if default in (None, []) and field.examples else default
        lines += [f"# {field.description}", f"# {_assignment(key, value)}", ""]
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines))
    except FileExistsError:
        raise UsageError(f"{path} exists; edit it, or choose another --path") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another --path") from error
    typer.echo(f"wrote {path}", err=True)


def _assignment(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return TABLES[key]
    return f"{key} = {json.dumps(value, default=str)}"
