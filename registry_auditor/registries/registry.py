"""What a registry is: it lists, resolves, opens, and says what a model's base is. Nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from registry_auditor.domain import ModelRef
from registry_auditor.registries.claims import Claim
from registry_auditor.weights import Snapshot


@dataclass(frozen=True)
class Change:
    """A model that a registry shows, and where to go on listing after it."""

    model: ModelRef
    """Resolved, unless there is a `problem`."""
    cursor: str | None
    """Pass it to `changes` once this change, and all before it, have been dealt with."""
    problem: str | None = None
    """Why it cannot be audited (now)."""


class Registry(Protocol):
    """One place where models come from. Every method raises RegistryError with cause and remedy,

    RegistryUnavailable where the same call may succeed later.
    """

    @property
    def spec(self) -> str:
        """What a person calls it, and its cursor is kept under: `dir:/models`, `hf:org`, `mlflow:http://…`."""

    def changes(self, since: str | None = None) -> Iterator[Change]:
        """Every model with a revision newer than the cursor `since` (all if None), oldest first.

        May repeat what was shown before, and never leaves out anything.
        """

    def resolve(self, name: str, revision: str | None = None) -> ModelRef:
        """The immutable revision that `name` and `revision` (a branch, tag, version, alias) mean now.

        Raises RegistryError if there is none, or if it holds no weights.
        """

    def open(self, ref: ModelRef) -> AbstractContextManager[Snapshot]:
        """The weights of a resolved `ref`; headers now, numbers when asked for.

        Raises WeightsError if they are broken or hostile.
        """

    def verify(self, ref: ModelRef) -> None:
        """Raise RegistryError if what lies there is no longer the content that `ref` was resolved to."""

    def claim(self, ref: ModelRef) -> Claim | None:
        """The base that `ref` says it has, by the name it gives it, without reading weights."""

    def find(self, claimed: str, *, of: ModelRef) -> ModelRef | None:
        """The model of this registry that `of` calls `claimed`; None if there is none.

        Raises RegistryError if several could be meant.
        """
