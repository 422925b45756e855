"""`registry-auditor analyzers`: what is installed, and what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_json, print_page
from registry_auditor.errors import NotFound

if TYPE_CHECKING:
    from registry_auditor.analysis.analyzer import Analyzer

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of an installed analyzer.")]


@app.command("list")
def list_(form: options.AsFormat = Format.TEXT) -> None:
    """Installed analyzers, those of other packages included.

    Example: registry-auditor analyzers list
    """
    from registry_auditor.analysis.discover import discover

    print_page(
        (list(discover().values()), None),
        form,
        record=lambda each: {
            "name": each.name,
            "version": each.version,
            "needs": sorted(each.needs),
            "summary": each.summary,
        },
        columns={
            "analyzer": lambda each: each.name,
            "version": lambda each: str(each.version),
            "needs": lambda each: ", ".join(sorted(each.needs)) or "–",
            "what it reports": lambda each: each.summary,
        },
        empty="No analyzers are installed.",
    )


@app.command()
def explain(name: Name) -> None:
    """The manual page of an analyzer.

    Example: registry-auditor analyzers explain svd-diff
    """
    found = _named(name)
    needs = ", ".join(sorted(found.needs)) or "nothing"
    typer.echo(f"{found.name} (version {found.version}), needs {needs}\n\n{found.manual}")


@app.command()
def schema(name: Name) -> None:
    """The parameters of an analyzer as JSON Schema; set them in auditor.toml under [analyzers.NAME].

    Example: registry-auditor analyzers schema svd-diff
    """
    print_json(_named(name).schema)


def _named(name: str) -> Analyzer:
    from registry_auditor.analysis.discover import discover

    installed = discover()
    if name not in installed:
        raise NotFound(f"no analyzer {name!r} is installed; there are {', '.join(installed) or 'none'}")
    return installed[name]
