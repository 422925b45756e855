"""Models: registry entries with their revisions, and how the newest audit of each ended."""

from __future__ import annotations

from collections.abc import Mapping

from registry_auditor.domain import Severity, Verdict
from registry_auditor.store.catalogue import Descent, ModelSummary, Revision
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.records import Page


class Models(Part):
    """Registry entries."""

    def list(
        self,
        *,
        limit: int = PAGE,
        after: str | None = None,
        model_glob: str | None = None,
        verdict: Verdict | None = None,
    ) -> Page[ModelSummary]:
        """Models by name; `verdict`: of the newest audit."""
        raise NotImplementedError

    def get(self, model: str) -> ModelSummary:
        """The model of an id. Raises NotFound."""
        raise NotImplementedError

    def revisions(self, model: str, *, limit: int = PAGE, after: str | None = None) -> Page[Revision]:
        """Revisions of a model, the last to be seen first. Raises NotFound."""
        raise NotImplementedError

    def lineage(self, model: str | None = None, *, limit: int = 500) -> list[Descent]:
        """Who was made from whom: all models, or the ancestors and descendants of one, at most `limit` edges."""
        raise NotImplementedError

    def verdicts(self) -> dict[Verdict, int]:
        """How many models have which verdict in their newest finished audit."""
        raise NotImplementedError

    def severities(self) -> Mapping[Severity, int]:
        """How many findings that count the newest finished audits of all models show together."""
        raise NotImplementedError
