"""`registry-auditor banks`: direction banks as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from registry_auditor.cli import options
from registry_auditor.errors import AuditorError, NotFound

app = typer.Typer(no_args_is_help=True)


@app.callback()
def banks() -> None:
    """Direction banks as files."""


@app.command()
def export(
    audit: Annotated[str, typer.Option("--audit", metavar="ID", help="Whose bank.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the safetensors file.")
    ],
    db: options.DB = None,
    banks: options.Banks = None,
) -> None:
    """Write the direction bank of an audit: tensors `vectors` (n, d), `strength` (n), `residual` (n), and the sites.

    Example: registry-auditor banks export --audit 0199a1b2 --output directions.safetensors
    """
    with options.stored(db, banks) as store:
        found = {bank.sha256: bank for stored in store.runs(audit) for bank in stored.banks}
        if not found:
            raise NotFound(f"audit {audit} has no direction bank; nothing was learnt, or svd-diff did not run")
        largest = max(found.values(), key=lambda bank: bank.directions)
        content = store.banks.read(largest.sha256)
    try:
        output.write_bytes(content)
    except OSError as error:
        raise AuditorError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error
    typer.echo(f"{largest.directions} directions of {largest.dimension} dimensions: {output}", err=True)
