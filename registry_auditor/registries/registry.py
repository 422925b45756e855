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
    """One place where models come from.

    Every method raises RegistryError with cause and remedy, and RegistryUnavailable where the same call may succeed
    later. What it promises beyond its types is a suite of tests that every kind of registry passes.
    """

    @property
    def spec(self) -> str:
        """What a person calls it, and its cursor is kept under: `dir:/models`, `hf:org`, `mlflow:http://…`."""

    def changes(self, since: str | None = None) -> Iterator[Change]:
        """Every model with a revision newer than the cursor `since` (all if None), oldest first.

        May repeat what was shown before. What cannot be audited is shown with its problem; what can be later is shown
        again when it can. Only a look without a cursor is sure to find what became readable or visible without
        changing itself.
        """

    def resolve(self, name: str, revision: str | None = None) -> ModelRef:
        """The immutable revision that `name` and `revision` (a branch, tag, version, alias) mean now.

        A revision that was resolved before means itself as long as it is there. Raises RegistryError if there is none,
        or if it holds no weights.
        """

    def open(self, ref: ModelRef) -> AbstractContextManager[Snapshot]:
        """The weights of a resolved `ref`; headers now, numbers when asked for.

        Raises RegistryError if it is no longer there as it was, WeightsError if it is broken or hostile.
        """

    def verify(self, ref: ModelRef) -> None:
        """Raise RegistryError if what lies there is not the content that `ref` was resolved to, or was not meanwhile.

        Cheap enough to be called before every result is kept.
        """

    def claim(self, ref: ModelRef) -> Claim | None:
        """The base that `ref` says it has, by the name it gives it, without reading weights."""

    def find(self, claimed: str, *, of: ModelRef) -> ModelRef | None:
        """The model of this registry that `of` calls `claimed`; None if there is none.

        Raises RegistryError if several could be meant.
        """
