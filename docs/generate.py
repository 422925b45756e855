"""Writes the pages that are made from code: docs/analyzers.md and docs/cli.md. Run: make docs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from registry_auditor import errors
from registry_auditor.analysis.discover import discover
from registry_auditor.cli.app import app
from registry_auditor.config import PREFIX, Settings

DOCS = Path(__file__).parent
NOTE = "<!-- Made from the code by docs/generate.py; change it there and run: make docs -->"


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    return {"analyzers.md": _analyzers(), "cli.md": _cli()}


def _analyzers() -> str:
    parts = [
        NOTE,
        "",
        "# Analyzers",
        "",
        "What `registry-auditor analyzers explain NAME` prints, for every built-in one.",
    ]
    for name, analyzer in discover().items():
        if not analyzer.examine.__module__.startswith("auditor_"):
            continue
        parts += ["", f"## {name}", "", f"Version {analyzer.version}; needs {', '.join(sorted(analyzer.needs))}.", ""]
        parts += [_manual(analyzer.manual), "", "| parameter | default |", "| --- | --- |"]
        fields = analyzer.parameters.model_fields
        parts += [f"| `{key}` | `{field.default}` |" for key, field in fields.items()]
    return "\n".join(parts) + "\n"


def _manual(text: str) -> str:
    """A manual page with its indented sections as Markdown."""
    lines = []
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            lines.append(f"### {line.removesuffix(':')}\n")
        else:
            lines.append(line.removeprefix("    "))
    return "\n".join(lines)


def _cli() -> str:
    parts = [NOTE, "", "# Command line and settings", ""]
    group: Any = typer.main.get_command(app)
    for name, command in _commands(group, "registry-auditor"):
        parts += [f"## {name}", "", inspect.cleandoc(command.help or ""), ""]
        options = [_option(parameter) for parameter in command.params if parameter.name != "help"]
        if options:
            parts += ["| option | meaning |", "| --- | --- |", *options, ""]
    parts += ["## Settings", ""]
    parts += [
        f"From the command line, the environment (`{PREFIX}…`), or a settings file (`{PREFIX}CONFIG`,",
        "`./auditor.toml`, or the one in your configuration folder), in this order.",
        "`REGISTRY_AUDITOR_LOG` sets the log level.",
        "",
        "| setting | environment | meaning |",
        "| --- | --- | --- |",
    ]
    parts += [
        f"| `{key}` | `{PREFIX}{key.upper()}` | {field.description} |" for key, field in Settings.model_fields.items()
    ]
    return "\n".join([*parts, "", "## Errors", "", *_errors(), ""])


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _option(parameter: Any) -> str:
    names = (
        ", ".join(parameter.opts)
        if parameter.param_type_name == "option"
        else (parameter.metavar or parameter.name.upper())
    )
    return f"| `{names}` | {parameter.help or ''} |"


def _errors() -> Iterator[str]:
    tree = inspect.cleandoc(errors.__doc__ or "").split("\n\n")[1]
    yield from ("```text", inspect.cleandoc(tree), "```")


if __name__ == "__main__":
    for file, content in pages().items():
        (DOCS / file).write_text(content, encoding="utf-8")
