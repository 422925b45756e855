"""`registry-auditor doctor`: is everything there that an audit needs?"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import typer

from registry_auditor.cli import options
from registry_auditor.errors import AuditorError

LOW_DISK_BYTES = 2**30


def doctor(db: options.DB = None) -> int:
    """Check the installation: libraries, device, database, disk, analyzers. Exit code 0 if all is well, else 2.

    Example: registry-auditor doctor
    """
    checks: dict[str, Callable[[], str]] = {
        "python": platform.python_version,
        "torch": _torch,
        "transformers": lambda: version("transformers"),
        "settings": _settings,
        "database": lambda: _database(db),
        "disk": lambda: _disk(db),
        "analyzers": _analyzers,
    }
    sound = True
    for name, check in checks.items():
        try:
            typer.echo(f"ok    {name}: {check()}")
        except AuditorError as error:
            sound = False
            typer.echo(f"FAIL  {name}: {error}")
    return 0 if sound else 2


def _torch() -> str:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads"
    return f"{torch.__version__} on {device}"


def _settings() -> str:
    from registry_auditor.config import load, settings_file

    load()
    return str(settings_file() or "defaults, no file")


def _database(db: str | None) -> str:
    with options.stored(db) as store:
        newest = store.audits(limit=1).items
    return f"reachable, newest audit {newest[0].queued_at:%Y-%m-%d %H:%M}" if newest else "reachable, no audits yet"


def _disk(db: str | None) -> str:
    from registry_auditor.config import load
    from registry_auditor.store.engine import parse, sqlite_file

    file = sqlite_file(parse(load(db=db).db))
    folder = file.parent if file else Path.cwd()
    free = shutil.disk_usage(folder).free
    if free < LOW_DISK_BYTES:
        raise AuditorError(f"{folder}: only {free / 2**20:.0f} MiB free; make room, or move the store with --db")
    return f"{free / 2**30:.0f} GiB free in {folder}"


def _analyzers() -> str:
    from registry_auditor.analysis.discover import discover

    installed = discover()
    broken = [analyzer.name for analyzer in installed.values() if not analyzer.is_loaded]
    if broken:
        raise AuditorError(f"{', '.join(broken)} cannot be loaded; see: registry-auditor analyzers explain NAME")
    return ", ".join(installed) or "none installed"
