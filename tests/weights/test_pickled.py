"""`.bin` files: tensors are read, and nothing else ever happens."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from registry_auditor.errors import WeightsError
from registry_auditor.weights import open_snapshot, pair


def save_bin(content: Any, folder: Path, *, legacy: bool = False) -> Path:
    torch.save(content, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    return folder


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bin_file_holds_the_same_matrices_as_safetensors(
    legacy: bool, tmp_path: Path, net_of: Callable[..., nn.Module]
) -> None:
    net = net_of("gpt2")
    net.save_pretrained(tmp_path / "safe")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "config.json").write_text((tmp_path / "safe" / "config.json").read_text())
    save_bin(net.state_dict(), tmp_path / "bin", legacy=legacy)
    with open_snapshot(tmp_path / "bin") as pickled, open_snapshot(tmp_path / "safe") as safe:
        found = pair(pickled, safe)
        assert not found.added
        assert not found.removed
        assert len(found.deltas) == len(safe.matrices)
        assert all(delta.identical for delta in found.deltas)


def test_sharded_bin_files_are_read_through_their_index(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.ones(4)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    names = '{"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}'
    (tmp_path / "pytorch_model.bin.index.json").write_text(f'{{"weight_map": {names}}}')
    with open_snapshot(tmp_path) as snapshot:
        assert {name: matrix.shape for name, matrix in snapshot.matrices.items()} == {"a": (3, 1), "b": (4, 1)}


def test_safetensors_come_first_and_the_bin_beside_them_is_reported(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(3)}, tmp_path / "model.safetensors")
    save_bin({"a": torch.zeros(3)}, tmp_path)
    torch.save({}, tmp_path / "training_args.bin")
    with open_snapshot(tmp_path) as snapshot:
        assert float(snapshot.matrices["a"].read().sum()) == 3
        assert [gap.tensor for gap in snapshot.gaps] == ["pytorch_model.bin"]


class Harmful:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["beside", "alone"])
def test_code_in_a_pickle_is_named_and_not_executed(legacy: bool, place: str, tmp_path: Path) -> None:
    harm = Harmful(tmp_path / "witness")
    save_bin({"a": torch.ones(3), "b": harm} if place == "beside" else harm, tmp_path, legacy=legacy)
    with pytest.raises(WeightsError, match=r"holds code \(posix\.mkdir\)") as caught, open_snapshot(tmp_path):
        pass
    assert "weights_only" not in str(caught.value)  # torch recommends to load it unsafely
    assert not (tmp_path / "witness").exists()


def test_plain_pickles_and_garbage_are_clear_errors(tmp_path: Path) -> None:
    for content in (
        pickle.dumps(Harmful(tmp_path / "witness")),
        b"",
        b"garbage",
        b"PK\x03\x04",
        b"\x80\x02",
        os.urandom(999),
    ):
        (tmp_path / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(WeightsError, match=r"pytorch_model\.bin"), open_snapshot(tmp_path):
            pass
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_truncated_bin_file_is_a_clear_error(fraction: float, legacy: bool, tmp_path: Path) -> None:
    path = save_bin({"a": torch.randn(400, 30)}, tmp_path, legacy=legacy) / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with pytest.raises(WeightsError, match="download it again"), open_snapshot(tmp_path):
        pass


def rewritten(source: bytes, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(result, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return result.getvalue()


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    path = save_bin({"a": torch.zeros(400, 300)}, tmp_path) / "pytorch_model.bin"
    path.write_bytes(rewritten(path.read_bytes(), lambda name, data: data, zipfile.ZIP_DEFLATED))
    with pytest.raises(WeightsError, match="is compressed"), open_snapshot(tmp_path):
        pass


def test_an_archive_that_promises_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = save_bin({"a": torch.zeros(1000)}, tmp_path) / "pytorch_model.bin"
    honest = path.read_bytes()
    for number, promised in ((b"M\xe8\x03", b"J\xff\xff\xff\x7f"), (b"M\xe8\x03", b"M\xff\xff")):
        path.write_bytes(rewritten(honest, lambda name, data: data.replace(number, promised)))  # noqa: B023
        with pytest.raises(WeightsError, match=r"do not load it|download it again"), open_snapshot(tmp_path):
            pass


def test_a_view_that_repeats_its_numbers_is_a_gap(tmp_path: Path) -> None:
    save_bin({"a": torch.ones(1).expand(2**19, 2**19), "b": torch.ones(3)}, tmp_path)
    with open_snapshot(tmp_path) as snapshot:
        assert [gap.tensor for gap in snapshot.gaps] == ["a"]
        assert list(snapshot.matrices) == ["b"]


def test_sparse_quantised_and_meta_tensors_are_gaps(tmp_path: Path) -> None:
    strange = {
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.empty(3, 2, device="meta"),
        "number": 7,
        "fine": torch.ones(3),
    }
    save_bin(strange, tmp_path)
    with open_snapshot(tmp_path) as snapshot:
        assert {gap.tensor for gap in snapshot.gaps} == {"sparse", "meta"}
        assert list(snapshot.matrices) == ["fine"]


def test_a_training_checkpoint_is_unwrapped(tmp_path: Path) -> None:
    save_bin({"state_dict": {"a": torch.ones(3)}, "epoch": 3}, tmp_path)
    with open_snapshot(tmp_path) as snapshot:
        assert list(snapshot.matrices) == ["a"]


def test_a_transposed_tensor_is_read_in_its_own_order(tmp_path: Path) -> None:
    values = torch.randn(5, 7)
    save_bin({"a": values.T}, tmp_path)
    with open_snapshot(tmp_path) as snapshot:
        assert torch.equal(snapshot.matrices["a"].read(), values.T)
