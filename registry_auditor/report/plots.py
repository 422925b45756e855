"""Plots as SVG strings: no script, no inline style, colours by class, every number also there to be read aloud.

The classes are those of `templates/style.css`, in which `q0` … `q8` is one scale from nothing to the most: a single hue
that differs in lightness, so that it survives colour blindness and a black-and-white printer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from registry_auditor.report.visible import visible

STEPS = 9
"""Of the colour scale."""
WIDE_RANGE = 30.0
"""Largest over smallest value from which a scale is logarithmic: else all but the largest would look alike."""
LABELLED = 16
"""Columns up to which a cell has room for its number."""
ROW, COLUMN, NARROW, LEFT, TOP = 26, 46, 16, 118, 24
"""Pixels: height of a row, width of a column with and without numbers, room for the names."""


@dataclass(frozen=True)
class Cell:
    """One value of a heat map; None where nobody could tell."""

    row: str
    column: str
    value: float | None


@dataclass(frozen=True)
class Scale:
    """From values to the steps of the colour scale."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def over(cls, values: Iterable[float]) -> Scale:
        """The scale on which all of `values` have a place."""
        positive = [value for value in values if value > 0 and math.isfinite(value)]
        low, high = min(positive, default=0.0), max(positive, default=0.0)
        return cls(low, high, bool(low) and high / low > WIDE_RANGE)

    def step(self, value: float | None) -> int | None:
        """0 for nothing, 1 to 8 for more; None where there is no value."""
        if value is None or not math.isfinite(value):
            return None
        if value <= 0 or self.high <= 0:
            return 0
        share = value / self.high
        if self.logarithmic:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return 1 + min(STEPS - 2, int(share * (STEPS - 1)))


def number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3g}" if abs(value) < 10_000 else f"{value:.2e}"


def heat_map(cells: Sequence[Cell], *, title: str, description: str) -> Markup:
    """A table of coloured squares; rows and columns in the order in which they first appear."""
    rows = {name: at for at, name in enumerate(dict.fromkeys(cell.row for cell in cells))}
    columns = {name: at for at, name in enumerate(dict.fromkeys(cell.column for cell in cells))}
    width = COLUMN if len(columns) <= LABELLED else NARROW
    scale = Scale.over(cell.value for cell in cells if cell.value is not None)
    drawn = [_column_name(at, name, width) for name, at in columns.items() if width == COLUMN or at % 5 == 0]
    drawn += [
        Markup('<text class="name" x="{}" y="{}" text-anchor="end">{}</text>').format(
            LEFT - 8, TOP + at * ROW + 17, visible(name, 18)
        )
        for name, at in rows.items()
    ]
    drawn += [_square(cell, (columns[cell.column], rows[cell.row]), width, scale) for cell in cells]
    size = (LEFT + len(columns) * width + 8, TOP + len(rows) * ROW + 4)
    return _svg(size, Markup("").join(drawn), title=title, description=description)


def _column_name(at: int, name: str, width: int) -> Markup:
    return Markup('<text class="name" x="{}" y="15" text-anchor="middle">{}</text>').format(
        LEFT + at * width + width / 2, visible(name, 6)
    )


def _square(cell: Cell, place: tuple[int, int], width: int, scale: Scale) -> Markup:
    left, top = LEFT + place[0] * width, TOP + place[1] * ROW
    step = scale.step(cell.value)
    kind = "none" if step is None else f"q{step}"
    label = Markup("")
    if width == COLUMN:
        label = Markup('<text class="on-{}" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            kind, left + width / 2, top + 17, number(cell.value)
        )
    return Markup(
        '<g><title>{}, {}: {}</title><rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="2"/>{}</g>'
    ).format(
        visible(cell.row, 60),
        visible(cell.column, 60),
        number(cell.value),
        kind,
        left + 1,
        top + 1,
        width - 2,
        ROW - 2,
        label,
    )


def legend(values: Iterable[float | None]) -> Markup:
    """The colour scale with the numbers at its ends."""
    scale = Scale.over(value for value in values if value is not None)
    boxes = Markup("").join(
        Markup('<rect class="q{}" x="{}" y="2" width="17" height="10" rx="1"/>').format(step, step * 18)
        for step in range(STEPS)
    )
    text = f"{'logarithmic' if scale.logarithmic else 'linear'}, up to {number(scale.high)}"
    label = Markup('<text class="name" x="172" y="11">0 … {} {}</text>').format(
        number(scale.high), "(logarithmic)" if scale.logarithmic else ""
    )
    return _svg((330, 15), boxes + label, title="Colour scale", description=text, kind="plot legend")


def spectrum(
    series: Mapping[str, Sequence[float]], *, title: str, description: str, marked: int | None = None
) -> Markup:
    """Strengths over rank on a logarithmic scale, one line a name; `marked`: the rank to point at.

    Lines go from dark to light in the order of `series`, as layers do.
    """
    lines = {name: [value for value in values if value > 0] for name, values in series.items()}
    values = [value for line in lines.values() for value in line]
    if not values:
        return Markup("")
    longest, frame = max(map(len, lines.values())), _Frame.around(values)
    drawn = frame.axes(longest)
    for at, (name, line) in enumerate(lines.items()):
        drawn += _line(name, line, frame, shade=_shade(at, len(lines)), longest=longest)
    if marked is not None and len(lines) == 1:
        line = next(iter(lines.values()))
        if marked < len(line):
            x, y = frame.point(marked, line[marked], longest)
            drawn += Markup('<circle class="mark" cx="{}" cy="{}" r="6"/>').format(x, y)
    return _svg((frame.width, frame.height), drawn, title=title, description=description)


def _shade(at: int, count: int) -> int:
    """A step of the scale that is well seen on paper, later ones darker."""
    return 3 + round(5 * at / max(1, count - 1)) if count > 1 else 6


def _line(name: str, line: Sequence[float], frame: _Frame, *, shade: int, longest: int) -> Markup:
    points = [frame.point(rank, value, longest) for rank, value in enumerate(line)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = Markup("").join(
        Markup('<circle class="s{}" cx="{}" cy="{}" r="2"/>').format(shade, *_round(p)) for p in points
    )
    what = f"{visible(name, 80)}: {', '.join(number(value) for value in line[:5])}{' …' if len(line) > 5 else ''}"
    return Markup('<g><title>{}</title><polyline class="s{}" points="{}" fill="none"/>{}</g>').format(
        what, shade, path, dots
    )


def _round(point: tuple[float, float]) -> tuple[str, str]:
    return f"{point[0]:.1f}", f"{point[1]:.1f}"


@dataclass(frozen=True)
class _Frame:
    """Where values lie on the paper: two axes, the upright one logarithmic."""

    low: float
    high: float
    width: int = 300
    height: int = 168

    @classmethod
    def around(cls, values: Iterable[float]) -> _Frame:
        known = list(values)
        low, high = min(known), max(known)
        return cls(low / 1.1, high * 1.1) if high / low > 1.5 else cls(low / 1.5, high * 1.5)

    def point(self, rank: int, value: float, longest: int) -> tuple[float, float]:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return 46 + rank * (self.width - 58) / max(1, longest - 1), self.height - 26 - share * (self.height - 40)

    def axes(self, longest: int) -> Markup:
        """Three numbers on the upright axis, the ranks below."""
        middle = math.sqrt(self.low * self.high)
        drawn = Markup("")
        for value in (self.low, middle, self.high):
            _, y = self.point(0, value, longest)
            drawn += Markup('<line class="grid" x1="46" x2="{}" y1="{}" y2="{}"/>').format(
                self.width - 12, f"{y:.1f}", f"{y:.1f}"
            )
            drawn += Markup('<text class="name" x="40" y="{}" text-anchor="end">{}</text>').format(
                f"{y + 4:.1f}", number(value)
            )
        for rank in sorted({0, (longest - 1) // 2, longest - 1}):
            x, _ = self.point(rank, self.high, longest)
            drawn += Markup('<text class="name" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                f"{x:.1f}", self.height - 10, rank
            )
        return drawn


def _svg(size: tuple[float, float], drawn: Markup, *, title: str, description: str, kind: str = "plot") -> Markup:
    width, height = size
    return Markup(
        '<svg class="{}" role="img" viewBox="0 0 {} {}" width="{}" height="{}" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title><desc>{}</desc>{}</svg>"
    ).format(kind, width, height, width, height, escape(visible(title, 120)), escape(visible(description, 400)), drawn)
