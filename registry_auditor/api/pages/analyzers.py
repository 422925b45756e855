"""Analyzers, as the installations that audit have them."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from registry_auditor.api.pages.visit import Here

pages = APIRouter(include_in_schema=False)
HEADING = re.compile(r"^([A-Z][^\n:]{2,40}):$", re.MULTILINE)
"""Of a section of a manual page: `What it cannot see:` on a line of its own."""


@pages.get("/analyzers")
def analyzers(visit: Here) -> HTMLResponse:
    """The newest version of each."""
    totals = visit.store.run_totals()
    runs: dict[str, int] = {}
    for total in totals:
        runs[total.analyzer] = runs.get(total.analyzer, 0) + total.count
    return visit.page("analyzers.html", "Analyzers", found=visit.store.analyzers.list(), runs=runs)


@pages.get("/analyzers/{name}")
def analyzer(visit: Here, name: str) -> HTMLResponse:
    """A manual page, and the parameters."""
    found = visit.store.analyzers.get(name)
    totals = [total for total in visit.store.run_totals() if total.analyzer == found.name]
    return visit.page(
        "analyzer.html",
        found.name,
        crumbs=(("/analyzers", "Analyzers"),),
        it=found,
        sections=sections(found.manual),
        parameters=found.schema.get("properties", {}),
        totals=totals,
    )


@dataclass(frozen=True)
class Section:
    """A heading of a manual page and what stands below it; paragraphs, or lists of items."""

    heading: str
    blocks: tuple[tuple[str, ...] | str, ...]


def sections(manual: str) -> list[Section]:
    """A manual page by its headings; what comes before the first has an empty one."""
    text = inspect.cleandoc(manual)
    parts = HEADING.split(text)
    pairs = [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    return [Section(heading, _blocks(inspect.cleandoc("\n" + body))) for heading, body in pairs if body.strip()]


def _blocks(body: str) -> tuple[tuple[str, ...] | str, ...]:
    blocks: list[tuple[str, ...] | str] = []
    for paragraph in re.split(r"\n\s*\n", body.strip()):
        if paragraph.lstrip().startswith("- "):
            items = re.split(r"(?:^|\n)\s*- ", paragraph)
            blocks.append(tuple(" ".join(item.split()) for item in items if item.strip()))
        else:
            blocks.append(" ".join(paragraph.split()))
    return tuple(blocks)
