"""Analyzers, as the installations that audit have them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import Field

from registry_auditor.api.v1.given import READS, Kept, Plain
from registry_auditor.api.v1.routing import routes_of
from registry_auditor.api.v1.shapes import Moment, Shape
from registry_auditor.report import answers
from registry_auditor.report.records import Json, listing

routes = routes_of("analyzers", dependencies=READS)

Name = Annotated[str, Path(max_length=200, pattern=Plain, examples=["svd-diff"])]
Version = Annotated[int | None, Query(ge=0, le=2**31 - 1, description="By default the newest.")]


class Analyzer(Shape):
    """An analyzer with its manual page."""

    name: str = Field(examples=["svd-diff"])
    version: int = Field(description="0 for one that cannot be loaded.")
    needs: list[str] = Field(examples=[["base"]])
    summary: str
    manual: str
    seen_at: Moment | None


class Analyzers(Shape):
    """All analyzers, by name."""

    items: list[Analyzer]
    next: None = None


@routes.get("/analyzers", response_model=Analyzers)
def list_analyzers(store: Kept) -> Json:
    """The newest version of each analyzer that a worker has, by name."""
    return listing([answers.analyzer(each) for each in store.analyzers.list()], None)


@routes.get("/analyzers/{name}", response_model=Analyzer)
def get_analyzer(store: Kept, name: Name, version: Version = None) -> Json:
    """One analyzer with its manual page."""
    return answers.analyzer(store.analyzers.get(name, version))


@routes.get("/analyzers/{name}/schema", response_model=dict[str, Any])
def get_analyzer_schema(store: Kept, name: Name, version: Version = None) -> Json:
    """The JSON Schema of its parameters."""
    return dict(store.analyzers.get(name, version).schema)
