"""What one version of a registered model is, and when it counts as the same.

A revision is `VERSION.DIGEST`. The number alone is not enough: a registered model that is made again under the name
of a deleted one starts at 1 again. The digest is of what makes a version the one it is (name, number, time of
creation, source, run); the registry does not stop anyone from changing the files of its run afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry_auditor.domain import ModelRef, digest_of
from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.weights.folder import printable


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as its registry describes it."""

    name: str
    number: int
    created_ms: int
    updated_ms: int
    source: str
    run_id: str
    status: str
    tags: Mapping[str, str]

    @property
    def digest(self) -> str:
        """32 hex digits that no other version has had or will have."""
        return digest_of([self.name, self.number, self.created_ms, self.source, self.run_id])[:32]

    @property
    def ref(self) -> ModelRef:
        """What it is resolved to."""
        return ModelRef("mlflow", self.name, f"{self.number}.{self.digest}")

    @property
    def age_ms(self) -> float:
        """Milliseconds since it was registered, by our clock."""
        return time.time() * 1000 - self.created_ms

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"mlflow:{printable(self.name)}@{self.number}"


def version_of(found: Any) -> Version:
    """What the client of MLflow found, as a record."""
    return Version(
        found.name,
        int(found.version),
        int(found.creation_timestamp or 0),
        int(found.last_updated_timestamp or found.creation_timestamp or 0),
        found.source or "",
        found.run_id or "",
        str(found.status),
        dict(found.tags),
    )


def check_ready(version: Version) -> None:
    """Raise RegistryUnavailable while the registry still copies `version`, RegistryError if that failed."""
    if version.status == "FAILED_REGISTRATION":
        raise RegistryError(f"{version.title}: its registration failed; register it again")
    if version.status != "READY":
        raise RegistryUnavailable(f"{version.title}: is not ready yet ({printable(version.status)}); try again later")
