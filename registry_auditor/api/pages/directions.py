"""`/directions/{bank}/{ordinal}`: one direction, what it says, and who else has learnt it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from registry_auditor.api.pages.visit import Here
from registry_auditor.domain import Finding
from registry_auditor.errors import StoreError
from registry_auditor.report import plots
from registry_auditor.report.view import page_of
from registry_auditor.store import Store, StoredDirection
from registry_auditor.store.search.neighbours import Nearest

pages = APIRouter(include_in_schema=False)
NEIGHBOURS = 12


@pages.get("/directions/{bank}/{ordinal}")
def direction(visit: Here, bank: str, ordinal: Annotated[int, Path(ge=0, lt=2**31)]) -> HTMLResponse:
    """One direction; where its bank file is missing, without neighbours."""
    found = visit.store.directions.get(bank, ordinal)
    siblings = visit.store.directions.siblings(found)
    where = f"{found.site} #{found.rank}"
    spectrum = plots.spectrum(
        {found.site.tensor: siblings},
        title=f"Spectrum of {found.site}",
        description=f"rank {found.rank} of {len(siblings)} has strength {found.strength:.3g}",
        marked=found.rank,
    )
    near, problem = _neighbours(visit.store, found)
    shown = _said(visit.store, found)
    owner = f"{found.models[0].registry}:{found.models[0].name}"
    return visit.page(
        "direction.html", f"{where} of {owner}", crumbs=(("/models", "Models"), (page_of(found.models[0]), owner)),
        where=where, it=found, siblings=siblings, spectrum=spectrum,
        near=near, problem=problem, said=shown,
    )  # fmt: skip


def _neighbours(store: Store, of: StoredDirection) -> tuple[Nearest | None, str | None]:
    own = of.models[0]
    mine = f"{own.registry}:{own.name}"
    try:
        return store.search.nearest(of.bank, of.ordinal, limit=NEIGHBOURS, exclude_model=mine), None
    except StoreError:
        return None, "its bank file cannot be read; the log of the server says more"


def _said(store: Store, of: StoredDirection) -> list[tuple[Finding, Mapping[str, Any]]]:
    """What findings about its model say of this direction, a calibration range for instance."""
    model = of.models[0]
    found = store.findings(model_glob=f"{model.registry}:{model.name}", limit=100).items
    return [(each.finding, entry) for each in found for entry in _entries(each.finding.evidence, of)]


def _entries(evidence: Mapping[str, Any], of: StoredDirection) -> Iterator[Mapping[str, Any]]:
    entries = evidence.get("directions")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and (entry.get("tensor"), entry.get("rank")) == (of.site.tensor, of.rank):
            yield {key: value for key, value in entry.items() if key not in ("top", "bottom", "tensor", "rank")}
