"""Which files of a folder are the weights; every other file that could be is named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from registry_auditor.domain import Gap
from registry_auditor.errors import Unfinished, WeightsError
from registry_auditor.weights.checkpoint import Raw, open_file
from registry_auditor.weights.folder import MAX_INDEX_BYTES, inside, printable, read_object
from registry_auditor.weights.header import is_usable_name
from registry_auditor.weights.pickled import MAX_FILE_BYTES, open_pickled
from registry_auditor.weights.remote import RemoteFile, open_remote

_ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_PREFERRED = ("model.safetensors", "pytorch_model.bin")
_NO_WEIGHTS = re.compile(
    r"^(?:training_args|optimizer|scheduler|scaler|rng_state\w*|random_states\w*)\.(?:bin|pt|pth|pkl)$"
)
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.(?:safetensors|bin)$")

_EXPORTED = "is no checkpoint of PyTorch; audit the safetensors it was exported from"
_CONVERT = "is not read; convert it to safetensors with save_pretrained and audit that"
UNREAD: Mapping[str, str] = {
    ".gguf": "is GGUF, which is quantised as a rule: load it with transformers (from_pretrained(folder, "
    "gguf_file=name)), save_pretrained, and audit that",
    ".bin": _CONVERT, ".pt": _CONVERT, ".pth": _CONVERT, ".ckpt": _CONVERT, ".pkl": _CONVERT, ".pickle": _CONVERT,
    ".h5": _CONVERT, ".keras": _CONVERT, ".msgpack": _CONVERT, ".npz": _CONVERT, ".ot": _CONVERT, ".nemo": _CONVERT,
    ".onnx": _EXPORTED, ".tflite": _EXPORTED, ".mlmodel": _EXPORTED, ".engine": _EXPORTED, ".llamafile": _EXPORTED,
}  # fmt: skip
"""Files that may hold weights and are not read, and what to do about each kind."""
_BESIDE = "is not read, since {chosen} comes first for every loader; remove it, or audit it in a folder of its own"


@dataclass(frozen=True)
class _Choice:
    names: tuple[str, ...]
    """The files that are read."""
    title: str
    """What a person would call them."""
    listed: Mapping[str, str]
    """Tensor -> file, if there is an index."""


Remote = Mapping[str, RemoteFile]
"""The files of a folder that lie elsewhere, by their path in it."""
_NONE: Remote = {}


def is_adapter(folder: Path, remote: Remote = _NONE) -> bool:
    """Whether `folder` holds the weights of a PEFT adapter."""
    return (folder / "adapter_config.json").is_file() and _adapter_file(folder, remote) is not None


def read_as_weights(name: str) -> bool:
    """Whether a file called `name` is, or lists, weights that are read."""
    listed = (*_ADAPTER_FILES, *_PREFERRED, *_INDICES)
    return name in listed or (name.endswith(".safetensors") and not name.startswith("."))


def why_unread(names: Iterable[str]) -> str | None:
    """Of the first of `names` that may hold weights in a format that is not read: that, and what to do about it."""
    for name in sorted(names):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in UNREAD and not _NO_WEIGHTS.match(name) and not name.startswith("."):
            return f"{printable(name)} {UNREAD[suffix]}"
    return None


def weight_files(folder: Path) -> tuple[str, ...]:
    """The files that are read as the weights of `folder`, whether they are there or not; none if there are none.

    Raises Unfinished for an index that is no JSON and for missing shards, WeightsError for an index that is hostile.
    """
    return _chosen(folder).names


def raw_tensors(folder: Path, stack: ExitStack, *, remote: Remote = _NONE) -> tuple[dict[str, Raw], list[Gap]]:
    """Every tensor of the weights in `folder`, and what nobody reads: tensors of the index, files beside them.

    The indices lie in `folder` itself, the weights there or in `remote`.

    Raises WeightsError if there is no such file at all, or if the index, a file or a header is broken.
    """
    choice = _chosen(folder, remote)
    raws: dict[str, Raw] = {}
    for name in choice.names:
        opened = _opened_remote(remote[name]) if name in remote else _opened(inside(folder, name), stack)
        for tensor, raw in opened.items():
            if tensor in raws:
                raise WeightsError(f"{folder}: {tensor} is in two files; do not load this model")
            raws[tensor] = raw
    gaps = [
        Gap(tensor, f"is listed in the index and is not in {printable(shard)}; download the model again")
        for tensor, shard in choice.listed.items()
        if tensor not in raws
    ]
    gaps += _unread(_names(folder, remote), choice)
    if not raws and not gaps:
        raise WeightsError(f"{folder}: holds no weights; expected model.safetensors, its shards or an adapter")
    return raws, gaps


def _opened(path: Path, stack: ExitStack) -> dict[str, Raw]:
    return open_file(path, stack) if path.suffix == ".safetensors" else open_pickled(path)


def _opened_remote(file: RemoteFile) -> dict[str, Raw]:
    if file.name.endswith(".safetensors"):
        return open_remote(file)
    if file.size_bytes > MAX_FILE_BYTES:
        raise WeightsError(
            f"{file.name}: {file.size_bytes} bytes exceed the limit of {MAX_FILE_BYTES}; convert it to safetensors"
        )
    return open_pickled(file.whole())


def _names(folder: Path, remote: Remote) -> list[str]:
    """What lies in `folder` itself, without what is hidden: a digest of the content leaves that out."""
    local = (path.name for path in folder.iterdir() if not path.is_dir())
    names = {*local, *(name for name in remote if "/" not in name)}
    return sorted(name for name in names if not name.startswith("."))


def _adapter_file(folder: Path, remote: Remote) -> str | None:
    return next((name for name in _ADAPTER_FILES if name in remote or (folder / name).exists()), None)


def _chosen(folder: Path, remote: Remote = _NONE) -> _Choice:
    if is_adapter(folder, remote):
        name = _adapter_file(folder, remote) or ""
        return _Choice((name,), name, {})
    for preferred, index_name in zip(_PREFERRED, _INDICES, strict=True):
        if preferred in remote or (folder / preferred).exists() or (folder / preferred).is_symlink():
            return _Choice((preferred,), preferred, {})
        if (index := read_object(folder, index_name, max_bytes=MAX_INDEX_BYTES)) is not None:
            listed = _weight_map(folder / index_name, index)
            return _Choice(tuple(sorted(set(listed.values()))), index_name, listed)
    names = tuple(name for name in _names(folder, remote) if name.endswith(".safetensors"))
    _check_complete(folder, names)
    return _Choice(names, names[0] if names else "", {})


def _weight_map(path: Path, index: Mapping[str, object]) -> dict[str, str]:
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()) or not listed:
        raise WeightsError(f"{path}: has no usable weight_map; download it again")
    suffix = path.name.removesuffix(".index.json").rpartition(".")[2]
    if unusable := next((name for name in listed if not is_usable_name(name)), None):
        raise WeightsError(f"{path}: {unusable[:80]!r} is no usable tensor name; do not load this model")
    if wrong := next((name for name in listed.values() if not name.endswith(f".{suffix}")), None):
        raise WeightsError(f"{path}: lists {wrong[:200]!r}, which is no .{suffix} file; do not load this model")
    if hidden := next((name for name in listed.values() if _is_hidden(name)), None):
        raise WeightsError(f"{path}: lists {hidden[:200]!r}, which is hidden; do not load this model")
    return listed


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(name).parts)


def _check_complete(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if shard := _SHARD.search(name):
            missing = int(shard[2]) - sum(each.endswith(f"-of-{shard[2]}.safetensors") for each in names)
            if missing > 0:
                raise Unfinished(f"{folder}: {missing} of {int(shard[2])} shards are missing; download the model again")


def _unread(names: Iterable[str], choice: _Choice) -> list[Gap]:
    gaps = []
    for name in names:
        suffix = PurePosixPath(name).suffix.lower()
        if name in choice.names or _NO_WEIGHTS.match(name):
            continue
        if suffix == ".safetensors" or (suffix == ".bin" and choice.title):
            gaps.append(Gap(printable(name), _BESIDE.format(chosen=choice.title)))
        elif suffix in UNREAD:
            gaps.append(Gap(printable(name), UNREAD[suffix]))
    return gaps
