"""Analyzers as installations that audit have them: the web application shows them without importing their code."""

from __future__ import annotations

from collections.abc import Iterable

from registry_auditor.store.catalogue import AnalyzerInfo
from registry_auditor.store.part import Part


class Analyzers(Part):
    """What workers can run."""

    def save(self, installed: Iterable[AnalyzerInfo]) -> None:
        """Afterwards these versions are known, seen now; others stay."""
        raise NotImplementedError

    def list(self) -> list[AnalyzerInfo]:
        """The newest version of each, by name."""
        raise NotImplementedError

    def get(self, name: str, version: int | None = None) -> AnalyzerInfo:
        """This version, or the newest. Raises NotFound."""
        raise NotImplementedError
