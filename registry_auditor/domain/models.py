"""What is audited: entries of registries, and places in a network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


@dataclass(frozen=True)
class ModelRef:
    """One immutable revision of one registry entry, printed as `dir:/models/x@sha256:…` or `hf:org/name@3f2a…`."""

    registry: str
    name: str
    revision: str | None = None
    """A full commit or content digest; None only until the registry has resolved it."""

    def __str__(self) -> str:
        return f"{self.registry}:{self.name}" + (f"@{self.revision}" if self.revision else "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`. Raises ValueError if `text` has no `registry:` prefix."""
        registry, colon, rest = text.partition(":")
        if not colon or not registry or not rest:
            raise ValueError(f"{text!r} is not a model reference such as dir:/models/x or hf:org/name@revision")
        name, at, revision = rest.rpartition("@")
        return cls(registry, name, revision) if at and name else cls(registry, rest)


class Side(StrEnum):
    """How a matrix touches the residual stream."""

    WRITES = "writes"
    """Its output is added to the stream: the left singular vectors U live there."""
    READS = "reads"
    """Its input is the (normalised) stream: the right singular vectors V live there."""


@dataclass(frozen=True)
class Site:
    """Where in a network something is: `model.layers.3.mlp.down_proj.weight`, layer 3, role `mlp.down`, writes."""

    tensor: str
    """Name in the checkpoint; a part of a fused or stacked tensor carries it in brackets: `…qkv_proj.weight[q]`."""
    layer: int | None = None
    role: str = "other"
    side: Side | None = None
    """None for what neither reads nor writes the residual stream."""

    def __str__(self) -> str:
        if self.layer is None:
            return self.tensor if self.role == "other" else self.role
        return f"layer {self.layer} {self.role}"
