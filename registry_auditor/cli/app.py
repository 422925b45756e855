"""All commands, assembled."""

from __future__ import annotations

from typing import Annotated

import typer

from registry_auditor.cli import (
    analyzers,
    audits,
    banks,
    config,
    db,
    directions,
    findings,
    models,
    monitor,
    notifications,
    registries,
    sightings,
    suppress,
    testbed,
    tokens,
)
from registry_auditor.cli.attest import attest, verify
from registry_auditor.cli.audit import audit
from registry_auditor.cli.broker import broker
from registry_auditor.cli.demo import demo
from registry_auditor.cli.doctor import doctor
from registry_auditor.cli.gate import gate
from registry_auditor.cli.serve import serve
from registry_auditor.cli.up import up
from registry_auditor.cli.watch import watch
from registry_auditor.cli.worker import worker

app = typer.Typer(
    name="registry-auditor",
    help="Audit what the fine-tuning changed.",
    epilog="Exit codes: 0 complete and clean · 1 findings at or above --fail-on · 2 operational error · 3 incomplete · "
    "4 usage or configuration error.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"registry-auditor {version('registry-auditor')}")
        raise typer.Exit


@app.callback()
def registry_auditor(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Audit what the fine-tuning changed."""


app.command()(demo)
app.command()(audit)
app.command()(gate)
app.command()(attest)
app.command()(verify)
app.command()(up)
app.command()(watch)
app.command()(worker)
app.command()(serve)
app.command(hidden=True)(broker)
app.add_typer(models.app, name="models", help="Models that were seen.")
app.add_typer(audits.app, name="audits", help="Past audits.")
app.add_typer(findings.app, name="findings", help="What past audits found.")
app.add_typer(suppress.app, name="suppress", help="Rules that take findings out of verdicts.")
app.add_typer(directions.app, name="directions", help="The directions of past audits.")
app.add_typer(banks.app, name="banks", help="Direction banks as files.")
app.add_typer(registries.app, name="registries", help="What is watched.")
app.add_typer(sightings.app, name="sightings", help="What registries showed, and why something was not audited.")
app.add_typer(notifications.app, name="notifications", help="Where finished audits are announced.")
app.add_typer(analyzers.app, name="analyzers", help="Installed analyzers.")
app.add_typer(monitor.app, name="monitor", help="Which prompts set off what was learnt.")
app.add_typer(testbed.app, name="testbed", help="Small networks whose truth is known.")
app.add_typer(tokens.app, name="tokens", help="Who may use the API.")
app.add_typer(db.app, name="db", help="The schema of the database.")
app.add_typer(config.app, name="config", help="Settings.")
app.command()(doctor)
