"""Which files of a folder are the weights; every other file that could be is named."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from registry_auditor.domain import Gap
from registry_auditor.errors import WeightsError
from registry_auditor.weights.checkpoint import Raw, open_file
from registry_auditor.weights.folder import MAX_INDEX_BYTES, inside, read_object

_INDEX = "model.safetensors.index.json"


def raw_tensors(folder: Path, stack: ExitStack) -> tuple[dict[str, Raw], list[Gap]]:
    """Every tensor of the weights in `folder`, and the files beside them that nobody reads.

    Raises WeightsError if there are none, or if the index, a file or a header is broken.
    """
    index = read_object(folder, _INDEX, max_bytes=MAX_INDEX_BYTES)
    names = _shards(folder, index) if index is not None else _unlisted(folder)
    if not names:
        raise WeightsError(f"{folder}: holds no weights; expected model.safetensors, its shards or an adapter")
    raws: dict[str, Raw] = {}
    for name in names:
        for tensor, raw in open_file(inside(folder, name), stack).items():
            if tensor in raws:
                raise WeightsError(f"{folder}: {tensor} is in two files; do not load this model")
            raws[tensor] = raw
    return raws, _missing(raws, index)


def _shards(folder: Path, index: dict[str, object]) -> list[str]:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise WeightsError(f"{folder / _INDEX}: has no usable weight_map; download it again")
    return sorted(set(weight_map.values()))


def _unlisted(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    return ["model.safetensors"] if "model.safetensors" in names else names


def _missing(raws: dict[str, Raw], index: dict[str, object] | None) -> list[Gap]:
    listed = index["weight_map"] if index else {}
    assert isinstance(listed, dict)
    return [
        Gap(name, f"is listed in {_INDEX} and is not in {shard}; download the model again")
        for name, shard in listed.items()
        if name not in raws
    ]
