"""Templates for pages and HTML reports: whatever they are given is escaped, and nothing in it is invisible."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from registry_auditor.domain import Finding
from registry_auditor.report import words
from registry_auditor.report.plots import number
from registry_auditor.report.visible import LIMIT, token, visible

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
MOST_COLUMNS = 12
"""Of a table of evidence: what has more is shown entry by entry."""
LEADING = ("tensor", "top", "bottom", "layer", "role", "side", "rank")
SPANS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def environment(*loaders: BaseLoader) -> Environment:
    """What renders templates of `loaders`, and those of this package.

    Every value goes through `visible` and is escaped, whether or not a template remembers to.
    """
    made = Environment(
        loader=ChoiceLoader([*loaders, PackageLoader("registry_auditor.report", "templates")]),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= FILTERS
    made.tests["mapping_like"] = lambda value: isinstance(value, Mapping)
    made.tests["pairs"] = are_pairs
    made.tests["float"] = lambda value: isinstance(value, float)
    return made


def _shown(value: Any) -> Any:
    if value is None:
        return ""
    if hasattr(value, "__html__") or isinstance(value, int | float):
        return value
    return visible(str(value))


def count(value: int) -> str:
    """With commas."""
    return f"{value:,}"


def percent(share: float | None) -> str:
    """A fraction as percent, three digits."""
    return "–" if share is None else f"{100 * share:.3g} %"


def moment(time: datetime | None) -> Markup:
    """A `<time>` to the minute, in UTC; pointed at, to the second."""
    if time is None:
        return Markup("–")
    utc = time.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M:%S} UTC", f"{utc:%Y-%m-%d %H:%M} UTC"
    )


def ago(time: datetime | None) -> Markup:
    """A `<time>` that says how long ago it was, or how far ahead it lies."""
    if time is None:
        return Markup("–")
    utc = time.astimezone(UTC)
    seconds = (datetime.now(UTC) - utc).total_seconds()
    told = duration(abs(seconds))
    return Markup('<time class="ago" datetime="{}" title="{} UTC">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M:%S}", f"{told} ago" if seconds >= 0 else f"in {told}"
    )


def duration(seconds: float) -> str:
    """In its largest unit."""
    for unit, length in SPANS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.2g} s"


def size(count_bytes: int | None) -> str:
    """In a binary unit."""
    if count_bytes is None:
        return "–"
    value, unit = float(count_bytes), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.3g} {UNITS[unit]}"


def truncated(text: str, most: int) -> str:
    """At most so many characters."""
    return visible(text, most)


def short(digest: str | None) -> str:
    """The beginning of a digest or commit, which is what a person compares."""
    return (digest or "–").rpartition(":")[2][: words.DIGEST_CHARACTERS]


def first(items: Any, most: int) -> list[Any]:
    """At most so many of `items`; of a mapping its pairs."""
    return list(islice(items.items() if isinstance(items, Mapping) else items, most))


def prompts(evidence: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The extremal prompts of a finding, `{"tokens": [...], "firing": 3, "score": 7.1, "label": "largest"}`."""
    found = evidence.get("prompts")
    return [each for each in found if _is_prompt(each)] if isinstance(found, list) else []


def _is_prompt(value: Any) -> bool:
    tokens = value.get("tokens") if isinstance(value, Mapping) else None
    return isinstance(tokens, list) and all(isinstance(each, str) for each in tokens)


def are_pairs(value: Any) -> bool:
    """Whether it is a list of tokens or the like, each with its number."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(each, list | tuple)
            and len(each) == 2
            and isinstance(each[0], str)
            and isinstance(each[1], int | float)
            for each in value
        )
    )


def columns(value: Any) -> list[str]:
    """The keys that the entries of a list share, those of `LEADING` first, if it can be shown as a table; else none.

    The others are sorted: of what comes from a database, the order of keys says nothing.
    """
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(each, Mapping) for each in value):
        return []
    names = {key for each in value for key in each}
    nested = any(isinstance(entry, Mapping) for each in value for entry in each.values())
    if nested or len(names) > MOST_COLUMNS:
        return []
    return [name for name in LEADING if name in names] + sorted(names.difference(LEADING))


def marked(text: str, most: int = LIMIT) -> Markup:
    """Text in which `names` stand in backticks, as docstrings and messages have them."""
    return Markup(re.sub(r"`([^`\n]{1,200})`", r"<code>\1</code>", str(escape(visible(text, most)))))


def reading(finding: Finding) -> str:
    """Score and threshold: `0.97 ≥ 0.9`."""
    if finding.score is None or finding.threshold is None:
        return number(finding.score)
    return f"{number(finding.score)} {'≥' if finding.score >= finding.threshold else '<'} {number(finding.threshold)}"


FILTERS = {
    "ago": ago,
    "columns": columns,
    "count": count,
    "duration": duration,
    "first": first,
    "marked": marked,
    "model": words.model,
    "moment": moment,
    "number": number,
    "percent": percent,
    "prompts": prompts,
    "reading": reading,
    "short": short,
    "size": size,
    "token": token,
    "truncated": truncated,
}
