"""Models, their revisions, and who was made from whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from registry_auditor.api.pages.visit import Blank, Glob, Here, Text
from registry_auditor.domain import BaseSource, ModelRef, Verdict
from registry_auditor.store.catalogue import Descent

pages = APIRouter(include_in_schema=False)
MOST_EDGES = 500


@pages.get("/models")
def models(
    visit: Here, after: Text = None, model: Glob = None, verdict: Annotated[Verdict | None, Blank] = None
) -> HTMLResponse:
    """All registry entries."""
    found = visit.store.models.list(after=after, model_glob=model, verdict=verdict)
    return visit.page("models.html", "Models", found=found, verdicts=list(Verdict))


@pages.get("/models/{model}")
def model(visit: Here, model: str, after: Text = None) -> HTMLResponse:
    """One registry entry: its revisions and its relatives."""
    store = visit.store
    summary = store.models.get(model)
    name = f"{summary.ref.registry}:{summary.ref.name}"
    return visit.page(
        "model.html",
        name,
        crumbs=(("/models", "Models"),),
        model=summary,
        revisions=store.models.revisions(model, after=after),
        trees=list(trees(store.models.lineage(model))),
    )


@pages.get("/lineage")
def lineage(visit: Here) -> HTMLResponse:
    """The family of all models."""
    edges = visit.store.models.lineage(limit=MOST_EDGES)
    return visit.page("lineage.html", "Lineage", trees=list(trees(edges)), cut=len(edges) >= MOST_EDGES)


@dataclass
class Node:
    """A model and what was made from it."""

    ref: ModelRef
    source: BaseSource | None = None
    verdict: Verdict | None = None
    children: list[Node] = field(default_factory=list)
    elsewhere: bool = False
    """Whether its descendants stand at another place: it has two bases, or claims to descend from itself."""

    @property
    def size(self) -> int:
        """How many models there are, itself included."""
        return 1 + sum(child.size for child in self.children)


def trees(edges: Iterable[Descent]) -> Iterator[Node]:
    """The edges as trees, each from a model without a base; circles of claims are cut where they close."""
    children: dict[ModelRef, list[Descent]] = defaultdict(list)
    verdicts: dict[ModelRef, Verdict | None] = {}
    for edge in edges:
        children[edge.base].append(edge)
        verdicts[edge.model] = edge.verdict
    roots = [base for base in children if base not in verdicts]
    seen: set[ModelRef] = set()
    for root in [*roots, *children]:  # in a circle nobody is a root: whoever comes first is
        if root not in seen:
            yield _tree(Node(root, None, verdicts.get(root)), children, seen)


def _tree(root: Node, children: dict[ModelRef, list[Descent]], seen: set[ModelRef]) -> Node:
    # Without recursion: a chain of claims may be as long as somebody likes.
    open_nodes = [root]
    seen.add(root.ref)
    while open_nodes:
        node = open_nodes.pop()
        for edge in sorted(children.get(node.ref, ()), key=lambda edge: str(edge.model)):
            child = Node(edge.model, edge.source, edge.verdict, elsewhere=edge.model in seen and edge.model in children)
            node.children.append(child)
            if edge.model not in seen:
                seen.add(edge.model)
                open_nodes.append(child)
    return root
