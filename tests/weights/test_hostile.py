"""Broken and hostile files: a clear error, nothing executed, nothing of the promised size allocated."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from registry_auditor.errors import WeightsError
from registry_auditor.weights import open_snapshot

GIB = 2**30


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """No test of this file may come near the sizes that its files promise."""
    usual = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GIB, usual[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, usual)


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(start: int, end: int, dtype: str = "F32", shape: list[Any] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - start) // 4] if shape is None else shape, "data_offsets": [start, end]}


DATA = bytes(32)
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no safetensors file"),
    "shorter than a length": (b"abc", "no safetensors file"),
    "absurd header length": (file_of({}, length=2**63), "promises a header of"),
    "header beyond the limit": (file_of({}, length=100_000_001), "limit 100000000"),
    "header longer than the file": (file_of({}, length=1000), "and holds 10; download"),
    "no JSON": (file_of(b"\xff\xfe{"), "not valid JSON"),
    "bottomless JSON": (file_of(b"[" * 200_000), "not valid JSON"),
    "a list": (file_of([1]), "no JSON object"),
    "a name twice": (file_of(b'{"a":%s,"a":%s}' % ((json.dumps(entry(0, 32)).encode(),) * 2), DATA), "appears twice"),
    "truncated": (file_of({"a": entry(0, 64)}, DATA), "truncated"),
    "terabytes": (file_of({"a": entry(0, 2**42)}, DATA), "truncated"),
    "overflowing shape": (file_of({"a": entry(0, 32, shape=[2**40, 2**40])}, DATA), "is given 32"),
    "wrapping shape": (file_of({"a": entry(0, 0, shape=[2**62, 4])}, b""), "no usable shape"),
    "negative shape": (file_of({"a": entry(0, 32, shape=[-2, -4])}, DATA), "no usable shape"),
    "fractional shape": (file_of({"a": entry(0, 32, shape=[8.0])}, DATA), "no usable shape"),
    "true for one": (file_of({"a": entry(0, 32, shape=[True, 8])}, DATA), "no usable shape"),
    "too many dimensions": (file_of({"a": entry(0, 32, shape=[1] * 64 + [8])}, DATA), "no usable shape"),
    "backward offsets": (file_of({"a": entry(32, 0, shape=[8])}, DATA), "is given -32"),
    "one offset": (file_of({"a": {**entry(0, 32), "data_offsets": [0]}}, DATA), "no usable offsets"),
    "overlapping": (file_of({"a": entry(0, 32), "b": entry(16, 32)}, DATA), "shares bytes with another"),
    "a hole": (file_of({"a": entry(0, 8), "b": entry(16, 32)}, DATA), "belong to no tensor"),
    "a tail": (file_of({"a": entry(0, 16)}, DATA), "belong to no tensor"),
    "unknown type": (file_of({"a": entry(0, 32, dtype="F1000")}, DATA), "unknown type"),
    "no fields": (file_of({"a": 3}, DATA), "lacks a type"),
    "a terminal escape for a name": (file_of({"\x1b[2Ja": entry(0, 32)}, DATA), "no usable tensor name"),
    "an endless name": (file_of({"a" * 1000: entry(0, 32)}, DATA), "no usable tensor name"),
}


@pytest.mark.parametrize("flaw", BROKEN)
def test_a_broken_header_is_a_clear_error(flaw: str, tmp_path: Path) -> None:
    content, message = BROKEN[flaw]
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught, open_snapshot(tmp_path):
        pass
    assert "model.safetensors" in str(caught.value)


def test_a_header_of_odd_length_is_read_all_the_same(tmp_path: Path) -> None:
    values = torch.arange(8, dtype=torch.float32)
    header = json.dumps({"a": entry(0, 32)}).encode()
    for padding in range(8):
        content = file_of(header + b" " * padding, values.numpy().tobytes())
        (tmp_path / "model.safetensors").write_bytes(content)
        with open_snapshot(tmp_path) as snapshot:
            assert torch.equal(snapshot.matrices["a"].read()[:, 0], values)


def test_an_empty_tensor_is_a_gap(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(0, 7), "b": torch.ones(3)}, tmp_path / "model.safetensors")
    with open_snapshot(tmp_path) as snapshot:
        assert [(gap.tensor, gap.why) for gap in snapshot.gaps] == [("a", "is empty")]


@pytest.fixture
def sharded(tmp_path: Path) -> Callable[..., Path]:
    def make(weight_map: dict[str, Any] | None = None, **extra: Any) -> Path:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        save_file({"a": torch.ones(3)}, folder / "model-00001-of-00002.safetensors")
        save_file({"b": torch.ones(3)}, folder / "model-00002-of-00002.safetensors")
        usual = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
        index = {"weight_map": usual if weight_map is None else weight_map, **extra}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        return folder

    return make


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("../secret.safetensors", "leads out of the folder"),
        ("/etc/passwd.safetensors", "leads out of the folder"),
        ("x/../../secret.safetensors", "leads out of the folder"),
        ("absent.safetensors", "is missing"),
        ("a\0b.safetensors", "leads out of the folder"),
        ("/etc/passwd", "no .safetensors file"),
        ("x" * 5000 + ".safetensors", "leads out of the folder"),
        (7, "no usable weight_map"),
    ],
)
def test_an_index_that_points_elsewhere_is_refused(
    target: Any, message: str, sharded: Callable[..., Path], tmp_path: Path
) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "secret.safetensors")
    with pytest.raises(WeightsError, match=message), open_snapshot(sharded({"a": target})):
        pass


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "config.json", "model.safetensors.index.json"])
def test_a_link_out_of_the_folder_is_refused(name: str, sharded: Callable[..., Path], tmp_path: Path) -> None:
    folder = sharded()
    (tmp_path / "outside").write_text("{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(WeightsError, match="leads out of the folder"), open_snapshot(folder):
        pass


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_what_is_no_regular_file_is_refused_rather_than_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsError, match="no regular file"), open_snapshot(tmp_path):
        pass


def test_links_that_lead_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="missing or cannot be opened"), open_snapshot(tmp_path):
        pass


def test_the_links_of_the_hub_cache_are_followed_and_no_others(tmp_path: Path) -> None:
    repo = tmp_path / "models--org--name"
    snapshot, blobs = repo / "snapshots" / "3f2a", repo / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    save_file({"a": torch.ones(3)}, blobs / "0123")
    (snapshot / "model.safetensors").symlink_to("../../blobs/0123")
    with open_snapshot(snapshot) as opened:
        assert list(opened.matrices) == ["a"]
    other = tmp_path / "models--org--other" / "blobs"
    other.mkdir(parents=True)
    save_file({"a": torch.ones(3)}, other / "4567")
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(other / "4567")
    with pytest.raises(WeightsError, match="leads out of the folder"), open_snapshot(snapshot):
        pass


def test_missing_shards_tensors_and_indices_are_named(sharded: Callable[..., Path]) -> None:
    folder = sharded({"a": "model-00001-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"})
    with open_snapshot(folder) as snapshot:
        assert {gap.tensor for gap in snapshot.gaps} == {"c", "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").unlink()
    with open_snapshot(folder) as snapshot:
        assert list(snapshot.matrices) == ["a", "b"]
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match="1 of 2 shards are missing"), open_snapshot(folder):
        pass


def test_a_tensor_in_two_shards_is_refused(sharded: Callable[..., Path]) -> None:
    folder = sharded()
    save_file({"a": torch.zeros(3), "b": torch.ones(3)}, folder / "model-00002-of-00002.safetensors")
    with pytest.raises(WeightsError, match="a is in two files"), open_snapshot(folder):
        pass


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": ' + "9" * 10_000 + "}", "not valid JSON"),
        (" " * (17 * 2**20), "larger than"),
    ],
)
def test_a_broken_configuration_is_a_clear_error(config: str, message: str, tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(WeightsError, match=message), open_snapshot(tmp_path):
        pass


@pytest.mark.parametrize("value", [None, "x", -1, 0, 2**60, 1.5, True, [], {}, "9" * 400])
def test_nonsense_in_a_configuration_never_stops_the_reading(value: Any, tmp_path: Path) -> None:
    keys = ["model_type", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "num_hidden_layers",
            "text_config", "tie_word_embeddings", "quantization_config", "n_head", "multi_query"]  # fmt: skip
    names = [
        "h.0.attn.c_attn",
        "layers.0.self_attn.qkv_proj",
        "layers.0.mlp.gate_up_proj",
        "h.1.self_attention.query_key_value",
    ]
    save_file({f"{name}.weight": torch.ones(12, 5) for name in names}, tmp_path / "model.safetensors")
    for key in keys:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "phi3", key: value}))
        with open_snapshot(tmp_path) as snapshot:
            sizes = [matrix.read().numel() for matrix in snapshot.matrices.values()]
            assert sum(sizes) == 4 * 60


def test_a_folder_without_weights_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no weights; expected model\.safetensors"), open_snapshot(tmp_path):
        pass
    with pytest.raises(WeightsError, match="is no folder"), open_snapshot(tmp_path / "absent"):
        pass
