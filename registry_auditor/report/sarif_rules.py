"""The part of a SARIF log that is about rules: finding codes, manual pages, and the catalogues they refer to."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from registry_auditor.domain import Severity, StepKey, Taxonomy
from registry_auditor.report import manual
from registry_auditor.report.taxonomies import Scheme, references, scheme_of
from registry_auditor.store import StoredFinding
from registry_auditor.store.catalogue import AnalyzerInfo

Json = dict[str, Any]

LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
SECURITY_SEVERITY = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
    Severity.INFO: "0.0",
}
"""On the scale of CVSS, in whose bands GitHub sorts alerts."""

MAX_TAGS, MAX_TEXT = 10, 1024
"""What GitHub keeps of a rule: tags, and characters of a description."""


@dataclass(frozen=True)
class Catalogues:
    """The editions that a log refers to, and where in the log an entry stands."""

    editions: tuple[tuple[str, str], ...]
    """Scheme and version, in the order of `run.taxonomies`."""
    entries: Mapping[tuple[str, str], tuple[str, ...]]

    @classmethod
    def of(cls, used: Iterable[Taxonomy]) -> Catalogues:
        """Those of the references in `used`."""
        entries: dict[tuple[str, str], set[str]] = {}
        for each in used:
            entries.setdefault((each.scheme, each.version), set()).add(each.id)
        return cls(tuple(sorted(entries)), {edition: tuple(sorted(ids)) for edition, ids in entries.items()})

    def place(self, reference: Taxonomy) -> Json:
        """A `reportingDescriptorReference` to an entry."""
        edition = (reference.scheme, reference.version)
        component = {"name": _name(edition), "index": self.editions.index(edition), "guid": _guid(edition)}
        index = self.entries[edition].index(reference.id)
        return {"id": reference.id, "index": index, "toolComponent": component}

    def components(self) -> list[Json]:
        """`run.taxonomies`."""
        return [self._component(edition) for edition in self.editions]

    def supported(self) -> list[Json]:
        """`tool.driver.supportedTaxonomies`."""
        return [
            {"name": _name(edition), "index": index, "guid": _guid(edition)}
            for index, edition in enumerate(self.editions)
        ]

    def _component(self, edition: tuple[str, str]) -> Json:
        scheme = scheme_of(Taxonomy(*edition, ""))
        described = {} if scheme is None else {
            "organization": scheme.organization,
            "informationUri": scheme.url,
            "shortDescription": {"text": scheme.title},
        }  # fmt: skip
        return {
            "name": _name(edition),
            "version": edition[1],
            "guid": _guid(edition),
            **described,
            "isComprehensive": False,
            "taxa": [_taxon(entry, scheme) for entry in self.entries[edition]],
        }


def rules(
    found: Iterable[StoredFinding], steps: Iterable[StepKey], analyzers: Sequence[AnalyzerInfo], catalogues: Catalogues
) -> list[Json]:
    """One rule for every code in `found`, by code, explained by its step; its level is that of its worst finding."""
    by_code: dict[str, list[StoredFinding]] = {}
    for each in found:
        by_code.setdefault(each.finding.code, []).append(each)
    infos = {step.analyzer: manual.of_step(step, analyzers) for step in steps}
    return [
        _rule(code, same, info=infos.get(same[0].analyzer), catalogues=catalogues)
        for code, same in sorted(by_code.items())
    ]


def described(id_: str, text: str, *, summary: str | None = None) -> Json:
    """What GitHub wants to know of every rule and notification."""
    return {
        "id": id_,
        "name": "".join(part.capitalize() for part in re.split(r"[^0-9A-Za-z]+", id_)),
        "shortDescription": {"text": text[:MAX_TEXT]},
        "fullDescription": {"text": (summary or text)[:MAX_TEXT]},
        "help": {"text": text},
    }


def _rule(code: str, found: Sequence[StoredFinding], *, info: AnalyzerInfo | None, catalogues: Catalogues) -> Json:
    worst = max((each.finding.severity for each in found), key=lambda severity: severity.weight)
    linked = references(code)
    text = (manual.explained(code, info.manual) if info else None) or code.partition("/")[2].replace("-", " ")
    page = {"text": text} if info is None else {"text": info.manual, "markdown": manual.as_markdown(info.manual)}
    rule = {
        **described(code, text, summary=info.summary if info else text),
        "help": page,
        "defaultConfiguration": {"level": LEVELS[worst]},
        "properties": {
            "analyzer": found[0].analyzer,
            "security-severity": SECURITY_SEVERITY[worst],
            "tags": ["security", *(_tag(each) for each in linked)][:MAX_TAGS],
        },
    }
    if linked:
        rule["relationships"] = [{"target": catalogues.place(each), "kinds": ["relevant"]} for each in linked]
    return rule


def _taxon(entry: str, scheme: Scheme | None) -> Json:
    title = scheme and scheme.entries.get(entry)
    if scheme is None or title is None:
        return {"id": entry}
    return {"id": entry, "shortDescription": {"text": title}, "helpUri": scheme.page_of(entry)}


def _tag(reference: Taxonomy) -> str:
    return f"external/{reference.scheme}/{reference.id}".lower()


def _name(edition: tuple[str, str]) -> str:
    scheme = scheme_of(Taxonomy(*edition, ""))
    return edition[0] if scheme is None else scheme.title


@lru_cache(maxsize=64)
def _guid(edition: tuple[str, str]) -> str:
    """Made from scheme and version, so that every log names an edition alike."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("registry-auditor", *edition))))
