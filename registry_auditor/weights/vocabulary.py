"""Token ids as readable text, from the files of a tokenizer folder; nothing in the folder is executed.

The files are read as data instead of through the libraries that tokenize with them: a stranger's file meets
no native parser, and a token that holds half a character keeps its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry_auditor.errors import NotApplicable, WeightsError
from registry_auditor.weights.folder import inside, read_object
from registry_auditor.weights.readable import readable
from registry_auditor.weights.sentencepiece import pieces
from registry_auditor.weights.spelling import Decode, declared, guessed, metaspace, plain

MAX_BYTES = 256 * 2**20
MAX_ID = 2**24


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What each token id stands for."""

    size: int
    """One more than the largest id."""
    _pieces: Mapping[int, str]
    _decode: Decode
    _verbatim: Mapping[int, str] = field(default_factory=dict)
    """Added tokens, special or not: text as it is in the input."""

    def text(self, token_id: int) -> str:
        """The token in readable form; `⟨unused 32001⟩` for the padding rows of an embedding and gaps in the ids."""
        if token_id in self._verbatim:
            return readable(self._verbatim[token_id])
        if token_id in self._pieces:
            return readable(self._decode(self._pieces[token_id]))
        return f"⟨unused {token_id}⟩"


def has_vocabulary(path: Path) -> bool:
    """Whether `open_vocabulary` would find a tokenizer in the folder `path`, sound or not."""
    return any(_is_there(path / name) for name in _READERS)


def open_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary of the tokenizer in the folder `path`.

    Of several descriptions the first of tokenizer.json, vocab.json, tokenizer.model and vocab.txt counts.

    Raises:
        NotApplicable: If the folder holds none of these.
        WeightsError: If the file is larger than 256 MB, leads out of the folder, or is broken.
    """
    for name, opened in _READERS.items():
        if _is_there(path / name):
            return opened(path, name)
    raise NotApplicable(f"no tokenizer in {path}; put {', '.join(_READERS)} or the tokenizer of the base there")


def _from_tokenizer_json(path: Path, name: str) -> Vocabulary:
    content = _object(path, name)
    model = content.get("model")
    entries = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(entries, list):  # Unigram: [piece, log probability] in the order of the ids
        entries = {entry[0]: i for i, entry in enumerate(entries) if isinstance(entry, list) and _is_text(entry[:1])}
    vocab = _checked(entries, path / name)
    added = content.get("added_tokens")
    listed = {
        token.get("content"): token.get("id")
        for token in (added if isinstance(added, list) else [])
        if isinstance(token, dict) and isinstance(token.get("content"), str)
    }
    return _vocabulary(vocab, declared(content) or guessed(vocab), _checked(listed, path / name))


def _from_vocab_json(path: Path, name: str) -> Vocabulary:
    vocab = _checked(_object(path, name), path / name)
    return _vocabulary(vocab, guessed(vocab), _added(path))


def _from_sentencepiece(path: Path, name: str) -> Vocabulary:
    return _vocabulary(dict(enumerate(pieces(_content(path, name), path / name))), metaspace, _added(path))


def _from_vocab_txt(path: Path, name: str) -> Vocabulary:
    lines = _content(path, name).decode("utf-8", errors="replace").removesuffix("\n").split("\n")
    return _vocabulary({i: line.removesuffix("\r") for i, line in enumerate(lines)}, plain, _added(path))


_READERS: Mapping[str, Callable[[Path, str], Vocabulary]] = {
    "tokenizer.json": _from_tokenizer_json,
    "vocab.json": _from_vocab_json,
    "tokenizer.model": _from_sentencepiece,
    "vocab.txt": _from_vocab_txt,
}


def _is_there(file: Path) -> bool:
    return file.exists() or file.is_symlink()  # a link to nowhere is an error to report, not an absent file


def _vocabulary(vocab: Mapping[int, str], decode: Decode, added: Mapping[int, str]) -> Vocabulary:
    return Vocabulary(max(*vocab, *added, -1, -1) + 1, vocab, decode, added)


def _object(path: Path, name: str) -> dict[str, Any]:
    content = read_object(path, name, max_bytes=MAX_BYTES)
    assert content is not None
    return content


def _content(path: Path, name: str) -> bytes:
    with inside(path, name).open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise WeightsError(f"{path / name}: larger than {MAX_BYTES} bytes; do not load this model")
    return content


def _is_text(values: list[Any]) -> bool:
    return bool(values) and isinstance(values[0], str)


def _checked(entries: Any, source: Path) -> dict[int, str]:
    """Token -> id turned round. Raises WeightsError if it is anything else."""
    if not isinstance(entries, dict):
        raise WeightsError(f"{source}: holds no table of tokens; download it again")
    for token, token_id in entries.items():
        if type(token_id) is not int or not 0 <= token_id < MAX_ID:
            raise WeightsError(
                f"{source}: the id of {readable(token)!r} is no number below {MAX_ID}; download it again"
            )
    return {token_id: token for token, token_id in entries.items()}


def _added(path: Path) -> dict[int, str]:
    """Tokens that were added to a vocabulary of the older layouts."""
    listed = _checked(read_object(path, "added_tokens.json") or {}, path / "added_tokens.json")
    config = read_object(path, "tokenizer_config.json") or {}
    table = config.get("added_tokens_decoder")
    for token_id, token in (table if isinstance(table, dict) else {}).items():
        content = token.get("content") if isinstance(token, dict) else None
        if isinstance(content, str) and re.fullmatch(r"\d{1,7}", token_id):
            listed[int(token_id)] = content
    return listed
