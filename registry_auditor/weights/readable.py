"""Token text that a person can read and that cannot deceive one: what is invisible is spelt out."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import groupby

MAX_CHARACTERS = 64
"""Of one token; longer ones end in an ellipsis."""

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(code) for span in (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)) for code in span
}
"""Letters and marks that draw nothing: fillers, joiners, variation selectors."""
_ESCAPES = re.compile(r"⟨[^⟩]*⟩|\\.")
_SCRIPT_NAMES = {"Cjk": "Han", "Ideographic": "Han", "Kangxi": "Han"}
_WIDTHS = frozenset({"FULLWIDTH", "HALFWIDTH"})
_UNSCRIPTED = frozenset({
    "Modifier", "Mathematical", "Double", "Script", "Superscript", "Subscript", "Micro", "Feminine", "Masculine",
    "Combining", "Variation", "Squared", "Circled", "Parenthesized",
})  # fmt: skip


def readable(text: str | bytes, *, max_characters: int = MAX_CHARACTERS) -> str:
    r"""`text` on one line with nothing hidden in it.

    Newlines, tabs and backslashes become `\n`, `\t`, `\\`; control, format (zero-width, bidirectional) and other
    invisible characters, blanks other than the space and unassigned codes become `⟨U+202E⟩`; bytes that are no
    UTF-8, as in a token that holds half a character, become `⟨E2 80⟩`. Markup is left to whoever renders it.
    """
    if isinstance(text, bytes):
        text = text[: 4 * max_characters + 4].decode("utf-8", errors="surrogateescape")
    parts: list[str] = []
    for is_byte, run in groupby(text[:max_characters], key=_is_stray_byte):
        characters = list(run)
        parts.append(_bytes(characters) if is_byte else "".join(map(_visible, characters)))
    return "".join(parts) + ("…" if len(text) > max_characters else "")


def _is_stray_byte(character: str) -> bool:
    return "\udc80" <= character <= "\udcff"


def _bytes(characters: list[str]) -> str:
    return "⟨" + " ".join(f"{ord(character) - 0xDC00:02X}" for character in characters) + "⟩"


def _visible(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    hidden = unicodedata.category(character)[0] in "CZ" or character in _INVISIBLE
    return f"⟨U+{ord(character):04X}⟩" if hidden and character != " " else character


def scripts(text: str) -> Counter[str]:
    """How many characters of the readable `text` belong to each script: Latin, Han, …, digits, symbols.

    Blanks, combining marks and what `readable` has spelt out do not count. A script is the first word of the
    character's Unicode name, which is its script for every script in use today.
    """
    names = (_script(character) for character in _ESCAPES.sub("", text))
    return Counter(name for name in names if name)


def _script(character: str) -> str | None:
    kind = unicodedata.category(character)
    if kind[0] in "PS":
        return "symbols"
    if kind == "Nd":
        return "digits"
    if kind[0] not in "LN":
        return None
    words = unicodedata.name(character, "").split()
    word = next((word for word in words if word not in _WIDTHS), "").capitalize().partition("-")[0]
    if word in _UNSCRIPTED or (kind[0] == "N" and word != "Roman"):
        return "symbols"
    return _SCRIPT_NAMES.get(word, word) or None
