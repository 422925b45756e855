"""References carry scheme and version, lead to entries that the table knows, and are there for every finding."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from registry_auditor.analysis.discover import discover
from registry_auditor.domain import Taxonomy
from registry_auditor.report.taxonomies import (
    ATLAS,
    CWE,
    MAPPING,
    OWASP,
    SCHEMES,
    Scheme,
    cwes,
    references,
    scheme_of,
)

FORMATS = {
    ATLAS: (r"AML\.T\d{4}(\.\d{3})?", r"\d+\.\d+"),
    OWASP: (r"LLM\d{2}:20\d{2}", r"20\d{2}"),
    CWE: (r"CWE-\d+", r"\d+\.\d+"),
}
BUILT_IN = [each for each in discover().values() if each.examine.__module__.startswith("auditor_")]
CODES = sorted({code for each in BUILT_IN for code in re.findall(rf"`({each.name}/[a-z-]+)`", each.manual)})
ONLY_DESCRIBES = {
    "svd-diff/identical", "svd-diff/low-rank-update", "svd-diff/noise-only", "svd-diff/summary",
    "token-projection/readable",
}  # fmt: skip
"""What every fine-tune may show."""


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: f"{scheme.name} {scheme.version}")
def test_ids_and_versions_are_written_as_the_catalogue_does(scheme: Scheme) -> None:
    id_, version = FORMATS[scheme.name]
    assert re.fullmatch(version, scheme.version)
    assert scheme.entries
    for entry, title in scheme.entries.items():
        assert re.fullmatch(id_, entry)
        assert title
        assert scheme.page_of(entry).startswith("https://")
        assert "{" not in scheme.page_of(entry)


def test_the_year_of_an_owasp_entry_is_that_of_its_edition() -> None:
    for scheme in SCHEMES:
        if scheme.name == OWASP:
            assert {entry.partition(":")[2] for entry in scheme.entries} == {scheme.version}


def test_no_edition_and_no_entry_is_listed_twice() -> None:
    assert len({(scheme.name, scheme.version) for scheme in SCHEMES}) == len(SCHEMES)
    entries = [entry for scheme in SCHEMES for entry in scheme.entries]
    assert len(entries) == len(set(entries))


@pytest.mark.parametrize("glob", MAPPING)
def test_every_mapping_fits_a_code_and_names_known_entries(glob: str) -> None:
    assert [code for code in CODES if fnmatchcase(code, glob)], "no analyzer makes such a finding"
    known = {entry for scheme in SCHEMES for entry in scheme.entries}
    assert set(MAPPING[glob]) <= known


@pytest.mark.parametrize("code", CODES)
def test_every_finding_but_descriptions_refers_to_something(code: str) -> None:
    assert bool(references(code)) is (code not in ONLY_DESCRIBES)


def test_what_only_describes_is_still_found() -> None:
    assert set(CODES) >= ONLY_DESCRIBES


def test_references_of_the_analyzer_come_first_and_nothing_comes_twice() -> None:
    own = Taxonomy("mitre-atlas", "5.6", "AML.T0018.000")
    found = references("svd-diff/rank-one-update", (Taxonomy("house", "1", "X"), own))
    assert found[:2] == (Taxonomy("house", "1", "X"), own)
    assert len(found) == len(set(found)) == 4


def test_an_edition_that_the_table_does_not_have_stays_as_it_is() -> None:
    old = Taxonomy("mitre-atlas", "4.0", "AML.T0018.000")
    assert scheme_of(old) is None
    assert old in references("svd-diff/rank-one-update", (old,))


def test_cwe_numbers_are_those_of_cwe_references() -> None:
    assert cwes(references("svd-diff/not-the-base")) == [345]
    assert cwes(
        [Taxonomy("cwe", "4.18", "CWE-502"), Taxonomy("cwe", "4.18", "CWE-x"), Taxonomy("house", "1", "Y-7")]
    ) == [502]


def test_the_manual_page_lists_what_every_finding_refers_to() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for code in CODES:
        told = [row for row in rows if f"`{code}`" in row]
        assert bool(told) is (code not in ONLY_DESCRIBES), code
        for reference in references(code):
            assert reference.id in told[0], f"docs/reports.md: {code} refers to {reference.id}"
