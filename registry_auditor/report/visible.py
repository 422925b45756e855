"""Text from strangers, made fit to be looked at: nothing in it is invisible, turns the line around, or has no end."""

from __future__ import annotations

import re

LIMIT = 2000
"""Characters that a message may have; what is longer is cut and says so."""
TOKEN_LIMIT = 48
"""The same for one token: real ones are shorter."""

_INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u00ad\u034f\u061c\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero width, bidirectional controls, separators
    "\u115f\u1160\u2800\u3164\uffa0"  # letters that look like nothing
    "\ufe00-\ufe0e\ufeff\ufff0-\ufffb"
    "\ud800-\udfff"  # half of a character: no encoding has it
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # tags: text hidden behind text
    "]"
)
_MARKS = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0]{3})[\u0300-\u036f\u20d0-\u20f0]+"
)


def visible(text: str, limit: int = LIMIT) -> str:
    """`text` with invisible characters spelled out, `‹U+202E›`, and its end cut off past `limit`, with the length said.

    Of the marks that are stacked on one letter three are kept, so that a line stays on its line.
    """
    shown = _MARKS.sub(r"\1…", _INVISIBLE.sub(_spelled, text[:limit]))
    return shown if len(text) <= limit else f"{shown}… ({len(text):,} characters)"


def token(text: str) -> str:
    """One token: as `visible`, with its spaces and line ends to be seen."""
    shown = visible(text, TOKEN_LIMIT).replace("\n", "↵").replace("\t", "⇥")
    if not text.strip(" "):
        return "␣" * min(len(text), TOKEN_LIMIT) or "‹empty›"
    return "␣" + shown.lstrip(" ") if shown.startswith(" ") else shown


def _spelled(match: re.Match[str]) -> str:
    return f"‹U+{ord(match[0]):04X}›"
