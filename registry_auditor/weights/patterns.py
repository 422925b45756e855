"""The regular expressions of adapter_config.json, matched as PEFT does; their authors are strangers."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

MAX_PATTERNS = 4096
MAX_PATTERN_LENGTH = 256
"""Also of the module that is matched."""
MAX_REPEATS = 2
"""Each may try every length; the work of a match grows with this power of the length of the module's name."""
_REPEATED_GROUP = re.compile(r"\)\s*[*+{?]|\(\?[^:]")
_REPEAT = re.compile(r"[*+{]|(?<!\()\?")


def matching(patterns: Collection[str], module: str) -> str | None:
    """The first of `patterns` that PEFT would apply to `module`: it matches the whole path, or the end of it.

    Raises ValueError for a pattern that is no regular expression, or that could take for ever to match.
    """
    if len(patterns) > MAX_PATTERNS or (patterns and len(module) > MAX_PATTERN_LENGTH):
        raise ValueError(f"is governed by {len(patterns)} patterns, too many to be matched safely")
    for pattern in patterns:
        if _guarded(pattern).match(module):
            return pattern
    return None


@lru_cache(maxsize=2 * MAX_PATTERNS)
def _guarded(pattern: str) -> re.Pattern[str]:
    repeats = len(_REPEAT.findall(pattern))
    if len(pattern) > MAX_PATTERN_LENGTH or repeats > MAX_REPEATS or _REPEATED_GROUP.search(pattern):
        raise ValueError(f"is governed by the pattern {pattern[:80]!r}, which is too intricate to be matched safely")
    try:
        return re.compile(rf"(.*\.)?({pattern})$")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is governed by {pattern[:80]!r}, which is no regular expression ({error})") from error
