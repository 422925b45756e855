"""Models whose weights lie elsewhere: what is read of them is what local files would give."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from registry_auditor.errors import WeightsError
from registry_auditor.weights import Snapshot, open_snapshot
from tests.planted import WEIGHTS, gaussian, llama, save, save_adapter, weight
from tests.weights.elsewhere import Elsewhere, described


def equal(one: Snapshot, other: Snapshot) -> bool:
    return one.matrices.keys() == other.matrices.keys() and all(
        torch.equal(matrix.read(), other.matrices[name].read()) for name, matrix in one.matrices.items()
    )


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "200KB"}])
def test_a_model_elsewhere_is_the_model(options: dict[str, Any], tmp_path: Path) -> None:
    folder = save(llama(), tmp_path / "model", **options)
    remote = described(folder, tmp_path / "home")
    with open_snapshot(folder) as here, open_snapshot(tmp_path / "home", remote=remote) as there:
        assert len(remote) == len(list(folder.glob("*.safetensors")))
        assert equal(here, there)
        assert here.gaps == there.gaps == ()


def test_an_adapter_elsewhere_is_an_adapter(tmp_path: Path) -> None:
    A, B = gaussian(2, 64), gaussian(64, 2)
    folder = save_adapter(tmp_path / "adapter", {"model.layers.1.self_attn.q_proj": (A, B)})
    remote = described(folder, tmp_path / "home")
    with open_snapshot(tmp_path / "home", remote=remote) as snapshot:
        assert snapshot.adapter is not None
        (update,) = snapshot.adapter.updates
        assert torch.equal(update.factors[1], A)


def test_a_pickled_file_travels_whole_and_executes_nothing(tmp_path: Path) -> None:
    net = llama()
    folder = save(net, tmp_path / "model")
    (folder / WEIGHTS).unlink()
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    remote = described(folder, tmp_path / "home")
    with open_snapshot(tmp_path / "home", remote=remote) as snapshot:
        found = snapshot.matrices[weight(0, "mlp.up_proj")].read()
    assert torch.equal(found, net.state_dict()[weight(0, "mlp.up_proj")])


def test_a_pickled_file_beyond_the_limit_does_not_travel(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    file = Elsewhere(tmp_path / "pytorch_model.bin", tmp_path / "parts", claimed_bytes=2**40)
    with (
        pytest.raises(WeightsError, match="exceed the limit"),
        open_snapshot(tmp_path / "home", remote={file.name: file}),
    ):
        pass
    assert file.asked == []


def test_what_lies_elsewhere_and_is_not_read_is_a_gap(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path / "model")
    for name in ("pytorch_model.bin", "model.gguf"):
        (folder / name).write_bytes(b"x" * 100)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.gguf").write_bytes(b"x")
    remote = described(folder, tmp_path / "home")
    with open_snapshot(tmp_path / "home", remote=remote) as snapshot:
        assert [gap.tensor for gap in snapshot.gaps] == ["model.gguf", "pytorch_model.bin"]


def test_a_shard_that_is_nowhere_is_named(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path / "model", max_shard_size="200KB")
    remote = described(folder, tmp_path / "home")
    gone = sorted(remote)[1]
    del remote[gone]
    with pytest.raises(WeightsError, match=gone), open_snapshot(tmp_path / "home", remote=remote):
        pass


def test_an_index_cannot_name_files_outside_the_model(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path / "model", max_shard_size="200KB")
    remote = described(folder, tmp_path / "home")
    index = tmp_path / "home" / "model.safetensors.index.json"
    listed = json.loads(index.read_text())
    listed["weight_map"] = dict.fromkeys(listed["weight_map"], "../model/model-00001-of-00005.safetensors")
    index.write_text(json.dumps(listed))
    with pytest.raises(WeightsError, match="leads out"), open_snapshot(tmp_path / "home", remote=remote):
        pass


def test_local_files_are_read_beside_remote_ones(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path / "model", max_shard_size="200KB")
    remote = described(folder, tmp_path / "home")
    here = sorted(remote)[0]
    shutil.copyfile(folder / here, tmp_path / "home" / here)
    del remote[here]
    with open_snapshot(folder) as one, open_snapshot(tmp_path / "home", remote=remote) as other:
        assert equal(one, other)
