"""Analyzers of another package: one that kills its worker, and one that waits for a file."""

from __future__ import annotations

from pathlib import Path

SOURCE = '''
"""Analyzers that behave badly where a file in the model's folder says so."""
import os
import signal
import time
from collections.abc import Iterator
from registry_auditor.plugin import Coverage, Finding, Severity, Subject, analyzer

@analyzer("deadly", version=1)
def deadly(subject: Subject) -> Iterator[Finding | Coverage]:
    """Kill the worker, if there is a file called poison."""
    if (subject.tuned.path / "poison").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    yield Coverage()

@analyzer("stuck", version=1)
def stuck(subject: Subject) -> Iterator[Finding | Coverage]:
    """Never come back, if there is a file called stuck."""
    while (subject.tuned.path / "stuck").exists():
        time.sleep(0.05)  # and ask nobody whether there is time left
    yield Coverage()

@analyzer("patient", version=1)
def patient(subject: Subject) -> Iterator[Finding | Coverage]:
    """Take a while; longer, for as long as there is a file called wait beside the model."""
    time.sleep(0.3)
    while (subject.tuned.path.parent / "wait").exists():
        time.sleep(0.05)
        yield Coverage()
    yield Coverage()
'''


def install(site: Path) -> Path:
    """A folder that, on the path of Python, is an installed package with these analyzers."""
    info = site / "hazards-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "hazards.py").write_text(SOURCE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hazards\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[registry_auditor.analyzers]\ndeadly = hazards:deadly\nstuck = hazards:stuck\npatient = hazards:patient\n"
    )
    return site
