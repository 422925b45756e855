"""What the manual page of an analyzer says, in pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence

from registry_auditor.domain import StepKey
from registry_auditor.store.catalogue import AnalyzerInfo


def of_step(step: StepKey, analyzers: Sequence[AnalyzerInfo]) -> AnalyzerInfo | None:
    """The analyzer of `step`: in its version if that is known, else in the one that is."""
    named = [each for each in analyzers if each.name == step.analyzer and each.manual]
    return next((each for each in named if each.version == step.version), named[0] if named else None)


def explained(code: str, manual: str) -> str | None:
    """What the list of findings on a manual page says of `code`: `matrices changed along a single direction`."""
    for item in _items(manual):
        codes, colon, text = item.partition(": ")
        if colon and f"`{code}`" in codes:
            return text.rstrip(".;") + "."
    return None


def as_markdown(manual: str) -> str:
    """A manual page with its headings and indented sections as Markdown."""
    lines = []
    for line in manual.splitlines():
        is_heading = line.endswith(":") and not line.startswith((" ", "-"))
        lines.append(f"### {line.removesuffix(':')}\n" if is_heading else line.removeprefix("    "))
    return "\n".join(lines)


def _items(manual: str) -> list[str]:
    """The items of every list, each on one line."""
    found = re.findall(r"^( *)- (.*(?:\n\1 {2}.*)*)", manual, flags=re.MULTILINE)
    return [" ".join(text.split()) for _, text in found]
