"""The pieces of a SentencePiece model, read from its file without the library."""

from __future__ import annotations

from pathlib import Path

from registry_auditor.errors import WeightsError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECES_FIELD = 1
"""ModelProto: `repeated SentencePiece pieces = 1`; SentencePiece: `string piece = 1`."""


def pieces(content: bytes, source: Path) -> list[str]:
    """The text of each piece in the order of the ids; `source` names the file in messages.

    Raises WeightsError if `content` is no SentencePiece model.
    """
    try:
        found = [_text(piece) for number, piece in _fields(content) if number == _PIECES_FIELD]
    except (IndexError, ValueError) as error:
        raise WeightsError(f"{source}: is no SentencePiece model; put a tokenizer.json beside it") from error
    if not found:
        raise WeightsError(f"{source}: is a SentencePiece model without pieces; download it again")
    return found


def _text(piece: bytes) -> str:
    text = next((value for number, value in _fields(piece) if number == 1), b"")
    return text.decode("utf-8", errors="replace")


def _fields(message: bytes) -> list[tuple[int, bytes]]:
    """The length-delimited fields of a protocol-buffer message, by number.

    Raises ValueError or IndexError for anything that is not such a message.
    """
    found, at = [], 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _BYTES:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field promises more than the message holds")
            found.append((number, message[at : at + size]))
            at += size
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in {_FIXED64, _FIXED32}:
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, of at most ten bytes, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
