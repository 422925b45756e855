"""Direction search: which stored directions lie near this one, within one basis."""

from __future__ import annotations

from registry_auditor.store.part import Part


class Search(Part):
    """Nearest directions by |cos|."""
