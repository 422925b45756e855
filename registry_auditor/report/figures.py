"""What one audit shows in pictures, each with the table that says the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from registry_auditor.domain import Finding
from registry_auditor.report import plots
from registry_auditor.report.plots import Cell, number
from registry_auditor.store.directions import Strength

MOST_CELLS = 5000
"""Of a heat map: 100 layers of 50 roles; what goes past it is left to the JSON report."""
MOST_ROLES = 24
"""Roles that get a spectrum of their own, strongest first."""


@dataclass(frozen=True)
class Figure:
    """A picture, and its numbers as a table."""

    title: str
    drawn: Markup
    legend: Markup
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def heat_maps(findings: Iterable[Finding]) -> list[Figure]:
    """Layer × role for the relative update and for the strongest direction, from the summary that an audit has."""
    cells = next((found for finding in findings if (found := _cells(finding.evidence))), [])
    if not cells:
        return []
    wanted: tuple[tuple[str, str, Callable[[Mapping[str, Any]], float | None]], ...] = (
        ("Relative update", "size of the update over size of the base weight", lambda cell: cell.get("relative_norm")),
        ("Strongest direction", "largest singular value of the update", lambda cell: cell.get("strength")),
    )
    return [_heat_map(cells, title, about, value) for title, about, value in wanted]


def _cells(evidence: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells of a summary; empty for what is none. Evidence of other versions may look otherwise."""
    found = evidence.get("cells")
    if not isinstance(found, list):
        return []
    known = [cell for cell in found[:MOST_CELLS] if isinstance(cell, Mapping) and _is_cell(cell)]
    return known if len(known) == len(found[:MOST_CELLS]) else []


def _is_cell(cell: Mapping[str, Any]) -> bool:
    numbers = all(isinstance(cell.get(name), int | float | None) for name in ("relative_norm", "strength"))
    return isinstance(cell.get("role"), str) and isinstance(cell.get("layer"), int | None) and numbers


def _heat_map(
    cells: Sequence[Mapping[str, Any]],
    title: str,
    about: str,
    value: Callable[[Mapping[str, Any]], float | None],
) -> Figure:
    layers = sorted({layer for cell in cells if (layer := cell.get("layer")) is not None})
    order = {layer: at for at, layer in enumerate(layers)}
    # Roles in the order of the network, layers in theirs, what belongs to no layer last.
    ordered = sorted(cells, key=lambda cell: order.get(cell.get("layer"), len(order)))
    drawn = [Cell(cell["role"], _layer(cell.get("layer")), value(cell)) for cell in ordered]
    known = [cell.value for cell in drawn]
    return Figure(
        title=f"{title}, layer by layer",
        drawn=plots.heat_map(drawn, title=f"{title} by layer and role", description=f"{about}; {_extremes(drawn)}"),
        legend=plots.legend(known),
        header=("Role", "Layer", title),
        rows=tuple((cell.row, cell.column, number(cell.value)) for cell in drawn),
    )


def _layer(layer: int | None) -> str:
    return "–" if layer is None else str(layer)


def _extremes(cells: Iterable[Cell]) -> str:
    largest = max((cell for cell in cells if cell.value), key=lambda cell: cell.value or 0.0, default=None)
    return (
        "nothing changed"
        if largest is None
        else f"largest in layer {largest.column} {largest.row}: {number(largest.value)}"
    )


def spectra(strengths: Iterable[Strength]) -> list[Figure]:
    """For every role the stored strengths of its matrices over rank, strongest role first."""
    by_role: dict[str, dict[str, list[Strength]]] = defaultdict(lambda: defaultdict(list))
    for each in strengths:
        by_role[each.role][each.tensor].append(each)
    strongest = sorted(
        by_role, key=lambda role: -max(each.strength for some in by_role[role].values() for each in some)
    )
    return [_spectrum(role, by_role[role]) for role in strongest[:MOST_ROLES]]


def _spectrum(role: str, matrices: Mapping[str, Sequence[Strength]]) -> Figure:
    by_layer = sorted(matrices.items(), key=lambda pair: (pair[1][0].layer or 0, pair[0]))
    series = {tensor: [each.strength for each in sorted(some, key=lambda each: each.rank)] for tensor, some in by_layer}
    count = f"{len(series)} matrices" if len(series) > 1 else "1 matrix"
    return Figure(
        title=role,
        drawn=plots.spectrum(
            series,
            title=f"Spectra of {role}",
            description=f"strength of each direction over its rank, {count}, earlier layers lighter",
        ),
        legend=Markup(""),
        header=("Matrix", "Directions", "Strengths"),
        rows=tuple((tensor, str(len(line)), ", ".join(map(number, line))) for tensor, line in series.items()),
    )
