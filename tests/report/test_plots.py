"""Plots are safe, readable aloud, and on one scale; text of strangers is shown as what it is."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from registry_auditor.domain import Finding, Severity
from registry_auditor.report.figures import heat_maps, spectra
from registry_auditor.report.plots import Cell, Scale, heat_map, spectrum
from registry_auditor.report.visible import token, visible
from registry_auditor.store.directions import Strength

NASTY = "</title><script>x</script>\u202e\x00"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    "drawn",
    [
        heat_map(
            [Cell(NASTY, NASTY, 1.0), Cell("b", "c", None), Cell("b", "d", math.nan)], title=NASTY, description=""
        ),
        spectrum({NASTY: [3.0, 1.0, 0.0], "other": [2.0]}, title=NASTY, description=NASTY, marked=0),
        spectrum({"one": [1.0]}, title="a single direction", description="", marked=0),
    ],
)
def test_a_plot_is_well_formed_and_holds_no_script_and_no_style(drawn: str) -> None:
    root = ET.fromstring(drawn)
    assert root[0].tag == f"{SVG}title"
    assert root[1].tag == f"{SVG}desc"
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in {
            "svg",
            "title",
            "desc",
            "g",
            "rect",
            "text",
            "polyline",
            "circle",
            "line",
        }
        assert not [name for name in element.attrib if name == "style" or name.startswith("on")]


def test_a_scale_of_many_sizes_is_logarithmic_and_one_of_few_is_not() -> None:
    assert [Scale.over([1, 2, 4]).step(value) for value in (0, None, 1, 4)] == [0, None, 3, 8]
    wide = Scale.over([0.001, 1])
    assert wide.logarithmic
    assert wide.step(0.001) == 1 < (wide.step(0.03) or 0) < (wide.step(1) or 0) == 8


@pytest.mark.parametrize("cells", ["x", [1], [{"layer": "a", "role": "b"}], [{"role": "b", "layer": 1}], []])
def test_evidence_of_another_shape_draws_nothing_or_what_it_has(cells: Any) -> None:
    finding = Finding("svd-diff/summary", Severity.INFO, "", evidence={"cells": cells})
    for figure in heat_maps([finding]):
        ET.fromstring(figure.drawn)


def test_every_matrix_has_its_line_and_its_numbers() -> None:
    strengths = [
        Strength(f"layers.{layer}.o", layer, "attn.o", rank, 3.0 - rank) for layer in (1, 0) for rank in (1, 0)
    ]
    (figure,) = spectra(strengths)
    assert figure.drawn.count("<polyline") == 2
    assert figure.rows == (("layers.0.o", "2", "3, 2"), ("layers.1.o", "2", "3, 2"))


def test_what_is_invisible_is_spelled_out() -> None:
    assert visible("a\u202eb\u200d\ufeff\x1b\U000e0041") == "a‹U+202E›b‹U+200D›‹U+FEFF›‹U+001B›‹U+E0041›"
    assert visible("naïve Ωμέγα 中文 👍 \n") == "naïve Ωμέγα 中文 👍 \n"
    assert len(visible("a" + "\u0301" * 1000)) < 10


def test_what_has_no_end_is_cut_and_says_how_long_it_was() -> None:
    assert visible("x" * 2**20, 10) == "xxxxxxxxxx… (1,048,576 characters)"
    assert re.fullmatch(r"x{48}… \(1,048,576 characters\)", token("x" * 2**20))
    assert [token(text) for text in (" the", "\n", "", "  ")] == ["␣the", "↵", "‹empty›", "␣␣"]
