"""`registry-auditor db`: the schema of the database."""

from __future__ import annotations

import typer

from registry_auditor.cli import options

app = typer.Typer(no_args_is_help=True)


@app.command()
def upgrade(db: options.DB = None) -> None:
    """Bring the schema to what this version needs; what is stored stays.

    Example: registry-auditor db upgrade --db postgresql://auditor@localhost/audits
    """
    from registry_auditor.config import load
    from registry_auditor.store import upgrade as upgrade_schema

    before, after = upgrade_schema(load(db=db).db)
    typer.echo(f"already at {after}" if before == after else f"upgraded from {before or 'nothing'} to {after}")


@app.command()
def check(db: options.DB = None) -> int:
    """Whether the schema fits this version: exit code 0 if it does, 2 if not.

    Example: registry-auditor db check
    """
    from registry_auditor.config import load
    from registry_auditor.store import SchemaState
    from registry_auditor.store import check as check_schema

    schema = check_schema(load(db=db).db)
    typer.echo(f"{schema.state}: database {schema.found or 'without a schema'}, code {schema.expected}")
    return 0 if schema.state is SchemaState.CURRENT else 2
