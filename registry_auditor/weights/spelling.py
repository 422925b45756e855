"""How tokenizers spell the characters of their tokens, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Decode = Callable[[str], "str | bytes"]
"""A piece as the file spells it -> the text, or bytes that need not be whole characters."""


def _types(part: Any, depth: int = 8) -> Iterator[str]:
    """The types of a decoder or pre-tokenizer and of those in its sequence."""
    if isinstance(part, dict) and depth:
        yield str(part.get("type"))
        for key in ("decoders", "pretokenizers"):
            inner = part.get(key)
            for each in inner if isinstance(inner, list) else []:
                yield from _types(each, depth - 1)


def declared(content: Mapping[str, Any]) -> Decode | None:
    """What the content of a tokenizer.json says about it; None if it does not."""
    types = [*_types(content.get("decoder")), *_types(content.get("pre_tokenizer"))]
    return next((decode for name, decode in _DECODERS.items() if name in types), None)


def guessed(vocab: Mapping[int, str]) -> Decode:
    """A guess by the sign for a blank, which every large vocabulary of either kind uses."""
    for sign, decode in {"Ġ": byte_level, "▁": metaspace}.items():
        if any(token.startswith(sign) for token in vocab.values()):
            return decode
    return plain


def _bytes_by_symbol() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for the characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTES = _bytes_by_symbol()
_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_level(piece: str) -> str | bytes:
    """GPT-2 and most since: one printable symbol for each byte."""
    if any(symbol not in _BYTES for symbol in piece):
        return piece
    return bytes(_BYTES[symbol] for symbol in piece)


def metaspace(piece: str) -> str | bytes:
    """SentencePiece: `▁` for a blank, `<0xE2>` for a byte."""
    if byte := _BYTE_PIECE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    return piece.replace("▁", " ")


def plain(piece: str) -> str:
    """WordPiece keeps its `##`; the end of a word of CLIP and GPT-1 becomes the blank that follows it."""
    return piece.removesuffix("</w>") + " " if piece.endswith("</w>") else piece


_DECODERS: Mapping[str, Decode] = {
    "ByteLevel": byte_level,
    "Metaspace": metaspace,
    "ByteFallback": metaspace,
    "WordPiece": plain,
    "BPEDecoder": plain,
}
