"""Directions, and the search for those near one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from registry_auditor.api.v1.given import MODEL_GLOB, READS, AuditId, Filters, Glob, Kept, Paging, Plain, answer
from registry_auditor.api.v1.routing import routes_of
from registry_auditor.api.v1.shapes import Direction, Items, Reference, Sent, Shape
from registry_auditor.report import answers, records
from registry_auditor.report.records import Json

routes = routes_of("directions", dependencies=READS)


class Only(Filters):
    """Which directions."""

    audit: AuditId = Field(None, serialization_alias="audit_id")
    model: Glob = Field(None, serialization_alias="model_glob")
    tensor: Glob = Field(None, examples=["*.down_proj.weight"])
    role: Glob = Field(None, examples=["mlp.*"])
    layer: int | None = Field(None, ge=0, le=2**31 - 1)
    rank: int | None = Field(None, ge=0, le=2**31 - 1, description="0: the strongest of each matrix.")


class Stored(Sent):
    """A stored direction."""

    bank: str = Field(pattern=r"^[0-9a-f]{64}$")
    ordinal: int = Field(ge=0, le=2**31 - 1)


class Search(Sent):
    """What neighbours are looked for: of a stored direction, of a vector over a base, or of all that an audit found."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"vector": [0.6, 0.8], "basis": "hf:org/base", "min_cosine": 0.5}]},
    )

    direction: Stored | None = None
    vector: list[FiniteFloat] | None = Field(None, min_length=2, max_length=65_536, description="Of any length.")
    basis: str | None = Field(
        None, max_length=500, pattern=Plain, description="With `vector`: the base, by reference or digest."
    )
    audit: str | None = Field(None, min_length=1, max_length=64, pattern=Plain, description="Id of an audit.")
    exclude_model: str | None = Field(None, max_length=200, pattern=MODEL_GLOB)
    limit: int = Field(10, ge=1, le=100)
    min_cosine: float | None = Field(None, ge=0, le=1, description="By default 0; with `audit` 0.5.")

    @model_validator(mode="after")
    def _one_question(self) -> Search:
        if sum(each is not None for each in (self.direction, self.vector, self.audit)) != 1:
            raise ValueError("give one of direction, vector and audit")
        if (self.basis is None) != (self.vector is None):
            raise ValueError("a vector needs a basis, and nothing else does")
        if self.audit is not None and self.exclude_model is not None:
            raise ValueError("what an audit shares with others never includes its own model; leave exclude_model out")
        return self


class Neighbour(Shape):
    """A stored direction near the one that was asked about."""

    direction: Direction
    cosine: float = Field(ge=-1, le=1)
    p_value: float = Field(description="Chance that one random direction comes as near.")
    expected: float = Field(description="How many of as many random directions would come as near.")


class Nearest(Shape):
    """Neighbours, nearest first."""

    items: list[Neighbour]
    next: None = None
    searched: int
    missing: int = Field(description="Not compared: their bank file is missing or was changed.")
    dimension: int
    basis: str
    exact: bool = Field(description="Whether each was compared by its numbers rather than by a sketch.")


class Pair(Shape):
    """Two directions near each other."""

    mine: Direction
    theirs: Direction
    cosine: float = Field(ge=-1, le=1)
    p_value: float = Field(
        description="Chance that one random direction comes as near: I(1 − cosine²; (dimension − 1) / 2, 1 / 2), the "
        "regularised incomplete beta function."
    )


class SharedWith(Shape):
    """Another model, and what it has in common with the audit."""

    model: Reference
    matched: int = Field(description="How many of the directions that were asked about have a neighbour there.")
    directions: int = Field(description="How many of that model's directions were searched.")
    p_value: float = Field(
        description="At most so likely, were they random, does any of them come as near to any that was asked about as "
        "the first pair is: `asked` times `directions` times the p-value of that pair, and not above 1."
    )
    pairs: list[Pair] = Field(description="The nearest of them, nearest first.")


class Shared(Shape):
    """Models that share what an audit found, most in common first."""

    items: list[SharedWith]
    next: None = None
    asked: int = Field(description="How many directions of the audit were looked up.")
    compared: int = Field(description="How many other models there were to share them: so many p-values.")
    searched: int
    missing: int = Field(description="Not compared: their bank file is missing or was changed.")
    dimension: int = Field(description="0 for an audit without directions.")
    basis: str = Field(description="Digest of the base; empty for an audit without directions.")
    exact: bool
    min_cosine: float


@routes.get("/directions", response_model=Items[Direction])
def list_directions(store: Kept, page: Paging, only: Annotated[Only, Query()]) -> Json:
    """Directions without their vectors, strongest first."""
    return answer(store.directions.list(**only.filters(), **page.place), records.direction)


@routes.post("/directions:nearest", response_model=Nearest | Shared)
def search_directions(store: Kept, wanted: Search) -> Json:
    """Stored directions nearest by |cos| within one basis; nothing is written."""
    how: dict[str, Any] = {"limit": wanted.limit}
    if wanted.min_cosine is not None:
        how["min_cosine"] = wanted.min_cosine
    if wanted.audit is not None:
        return answers.shared(store.search.shared(wanted.audit, **how))
    how["exclude_model"] = wanted.exclude_model
    if wanted.direction is not None:
        return answers.nearest(store.search.nearest(wanted.direction.bank, wanted.direction.ordinal, **how))
    return answers.nearest(store.search.nearest_to(wanted.vector or (), basis=wanted.basis or "", **how))
