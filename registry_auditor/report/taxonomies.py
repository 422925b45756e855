"""Public catalogues that findings refer to, and which finding refers to what: one table.

Sources: MITRE ATLAS 5.6 (dist/ATLAS.yaml); OWASP Top 10 for LLM Applications, editions 2025 and 2026, which number
the same risks differently; CWE 4.18.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from registry_auditor.domain import Taxonomy

ATLAS, OWASP, CWE = "mitre-atlas", "owasp-llm", "cwe"


@dataclass(frozen=True)
class Scheme:
    """One edition of a catalogue, as far as findings refer to it."""

    name: str
    version: str
    title: str
    organization: str
    url: str
    page: str
    """Address of an entry; `{id}` and `{number}`, its digits, are filled in."""
    entries: Mapping[str, str]
    """Titles by id."""

    def page_of(self, entry: str) -> str:
        """Where the entry is described."""
        return self.page.format(id=entry, number=entry.partition("-")[2])


def _owasp(year: str, entries: Mapping[str, str]) -> Scheme:
    # The addresses of single risks carry their titles and have changed: the list is where each can be found.
    url = "https://genai.owasp.org/llm-top-10/"
    title = f"OWASP Top 10 for LLM Applications {year}"
    return Scheme(OWASP, year, title, "OWASP", url, url, {f"{number}:{year}": name for number, name in entries.items()})


SCHEMES = (
    Scheme(
        ATLAS, "5.6", "MITRE ATLAS", "MITRE", "https://atlas.mitre.org/", "https://atlas.mitre.org/techniques/{id}",
        {
            "AML.T0010.003": "AI Supply Chain Compromise: Model",
            "AML.T0011.000": "User Execution: Unsafe AI Artifacts",
            "AML.T0018.000": "Manipulate AI Model: Poison AI Model",
            "AML.T0018.001": "Manipulate AI Model: Modify AI Model Architecture",
            "AML.T0018.002": "Manipulate AI Model: Embed Malware",
            "AML.T0074": "Masquerading",
            "AML.T0076": "Corrupt AI Model",
            "AML.T0109": "AI Supply Chain Rug Pull",
        },
    ),
    _owasp("2025", {"LLM03": "Supply Chain", "LLM04": "Data and Model Poisoning"}),
    _owasp("2026", {"LLM04": "Supply Chain", "LLM05": "Data and Model Poisoning"}),
    Scheme(
        CWE, "4.18", "Common Weakness Enumeration", "MITRE", "https://cwe.mitre.org/",
        "https://cwe.mitre.org/data/definitions/{number}.html",
        {
            "CWE-345": "Insufficient Verification of Data Authenticity",
            "CWE-502": "Deserialization of Untrusted Data",
            "CWE-506": "Embedded Malicious Code",
        },
    ),
)  # fmt: skip

_BY_EDITION = {(scheme.name, scheme.version): scheme for scheme in SCHEMES}

POISONED = ("AML.T0018.000", "LLM04:2025", "LLM05:2026")
"""Weights that were changed to do something else than the card says."""
ANOTHER_MODEL = ("AML.T0074", "AML.T0010.003", "LLM03:2025", "LLM04:2026", "CWE-345")
"""Something else than what it says it is."""
OTHER_SHAPE = ("AML.T0018.001", "LLM03:2025", "LLM04:2026")
"""Parts that the base does not have, or lacks."""

MAPPING: Mapping[str, tuple[str, ...]] = {
    "svd-diff/rank-one-update": POISONED,
    "svd-diff/shared-direction": POISONED,
    "svd-diff/removed-direction": POISONED,
    "svd-diff/not-the-base": ANOTHER_MODEL,
    "svd-diff/added-tensors": OTHER_SHAPE,
    "svd-diff/removed-tensors": OTHER_SHAPE,
}
"""What findings refer to, by globs of their codes. What only describes a model refers to nothing."""


def scheme_of(reference: Taxonomy) -> Scheme | None:
    """The edition that a reference is into; None for one that is not in the table."""
    return _BY_EDITION.get((reference.scheme, reference.version))


def references(code: str, given: Iterable[Taxonomy] = ()) -> tuple[Taxonomy, ...]:
    """What a finding with `code` refers to: what its analyzer has `given`, then what the table says."""
    return tuple(dict.fromkeys((*given, *_mapped(code))))


@lru_cache(maxsize=1024)
def _mapped(code: str) -> tuple[Taxonomy, ...]:
    known = {entry: Taxonomy(each.name, each.version, entry) for each in SCHEMES for entry in each.entries}
    return tuple(known[entry] for glob, entries in MAPPING.items() if fnmatchcase(code, glob) for entry in entries)


def cwes(found: Iterable[Taxonomy]) -> list[int]:
    """The numbers of those references that are into CWE."""
    ids = (each.id.rpartition("-")[2] for each in found if each.scheme == CWE)
    return sorted({int(number) for number in ids if number.isascii() and number.isdecimal()})
