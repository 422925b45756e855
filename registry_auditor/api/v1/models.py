"""Models: registry entries, their revisions, where they come from, and what changed between two audits."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import Field

from registry_auditor.api.v1.given import READS, Glob, Kept, Paging, Plain, answer
from registry_auditor.api.v1.routing import routes_of
from registry_auditor.api.v1.shapes import Audit, Counts, Direction, Finding, Items, Moment, Place, Reference, Shape
from registry_auditor.domain import BaseSource, Severity, Verdict
from registry_auditor.report import answers
from registry_auditor.report.compare import compare, pick
from registry_auditor.report.records import Json

routes = routes_of("models", dependencies=READS)

ModelId = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9_-]{1,6000}$",
        description="`registry:name` in base64url without padding, as a list of models gives it.",
        examples=["aGY6b3JnL3R1bmVk"],
    ),
]


class Model(Shape):
    """A registry entry and how its newest finished audit ended."""

    id: str = Field(examples=["aGY6b3JnL3R1bmVk"])
    ref: Reference
    revisions: int
    last_seen_at: Moment | None
    worst: Severity | None
    counts: Counts
    audit: Audit | None = Field(
        description="The newest finished audit of any revision; while none is finished, the newest."
    )


class ClaimedBase(Shape):
    """A base that was claimed or measured."""

    ref: Reference
    source: BaseSource | None


class Revision(Shape):
    """One revision of a model."""

    ref: Reference
    digest: str | None
    first_seen_at: Moment | None
    last_seen_at: Moment | None
    base: ClaimedBase | None
    skipped: str | None = Field(description="Why it is not audited.")
    counts: Counts
    audit: Audit | None


class Entry(Shape):
    """A model by name and id."""

    id: str
    ref: Reference


class Descent(Shape):
    """Somebody says that `model` was made from `base`."""

    model: Entry
    base: Entry
    source: BaseSource | None
    verdict: Verdict | None = Field(description="Of the newest finished audit of the model.")


class Lineage(Shape):
    """Edges of the lineage graph."""

    items: list[Descent]
    next: None = Field(None, description="Always null: the graph comes in one piece, of at most 500 edges.")


class Turn(Shape):
    """The strongest direction of one matrix, before and after."""

    site: Place
    cosine: float = Field(description="|cos| of the two.", ge=0, le=1)
    before: Direction
    after: Direction


class Diff(Shape):
    """What changed between two audits."""

    before: Audit
    after: Audit
    new: list[Finding]
    gone: list[Finding]
    unchanged: list[Finding]
    turned: list[Turn] = Field(description="Matrices whose strongest direction has |cos| < 0.9 to what it was.")


@routes.get("/models", response_model=Items[Model])
def list_models(store: Kept, page: Paging, model: Glob = None, verdict: Verdict | None = None) -> Json:
    """Models by name; `verdict`: of their newest finished audit."""
    return answer(store.models.list(model_glob=model, verdict=verdict, **page.place), answers.model)


@routes.get("/models/{model_id}", response_model=Model)
def get_model(store: Kept, model_id: ModelId) -> Json:
    """One model."""
    return answers.model(store.models.get(model_id))


@routes.get("/models/{model_id}/revisions", response_model=Items[Revision])
def list_revisions(store: Kept, page: Paging, model_id: ModelId) -> Json:
    """Revisions of a model, the last to be seen first."""
    return answer(store.models.revisions(model_id, **page.place), answers.revision)


@routes.get("/models/{model_id}/lineage", response_model=Lineage)
def get_model_lineage(store: Kept, model_id: ModelId) -> Json:
    """What a model was made from, and what was made from it."""
    return answers.lineage(store.models.lineage(model_id))


AuditOrRevision = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=500,
        pattern=Plain,
        description="An audit id, or a revision of the model.",
        examples=["3f2a"],
    ),
]


@routes.get("/models/{model_id}/diff", response_model=Diff)
def diff_model(
    store: Kept,
    model_id: ModelId,
    before: Annotated[AuditOrRevision, Query(alias="from")] = None,
    after: Annotated[AuditOrRevision, Query(alias="to")] = None,
) -> Json:
    """Two audits of a model compared; by default its newest one and the newest of the revision before."""
    return answers.comparison(compare(store, *pick(store, model_id, before, after)))


@routes.get("/lineage", response_model=Lineage)
def get_lineage(store: Kept) -> Json:
    """Who was made from whom."""
    return answers.lineage(store.models.lineage())
