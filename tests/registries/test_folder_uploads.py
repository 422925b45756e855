"""A model that is still being written, or whose upload has stopped half-way: told until it is complete."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from registry_auditor.errors import WeightsError
from registry_auditor.registries import FolderRegistry
from tests.planted import WEIGHTS
from tests.registries.folders import model, shown


def test_a_model_is_shown_when_it_has_been_quiet_long_enough(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    registry = FolderRegistry(tmp_path, settle_s=0.4)
    (early,) = registry.changes()
    assert early.problem is not None
    assert "still being written: quiet for 0." in early.problem
    assert "s of 0.4 s" in early.problem
    time.sleep(0.3)
    (folder / "tokenizer.json").write_text("{}")
    (still,) = registry.changes(early.cursor)
    assert still.problem is not None
    time.sleep(0.45)
    (ready,) = registry.changes(still.cursor)
    assert ready.problem is None
    assert ready.model == registry.resolve("one")


def test_no_cursor_passes_what_has_not_settled(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path, settle_s=60)
    model(tmp_path / "one")
    model(tmp_path / "two")
    for change in registry.changes():
        assert change.problem is not None
        assert int(change.cursor or 0) <= time.time_ns() - 60 * 10**9


def test_times_that_people_set_decide_nothing(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path, settle_s=60)
    folder = model(tmp_path / "one")
    for path in (folder, folder / WEIGHTS):
        os.utime(path, (0, 0))
    assert "still being written" in (shown(registry)["one"] or "")
    for path in (folder, folder / WEIGHTS):
        os.utime(path, (2**33, 2**33))
    assert shown(FolderRegistry(tmp_path))["one"] is None


def half_a_file(folder: Path) -> str:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-5])
    return "truncated"


def half_a_header(folder: Path) -> str:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:20])
    return "promises a header of"


def an_empty_file(folder: Path) -> str:
    (folder / WEIGHTS).write_bytes(b"")
    return "0 bytes"


def room_for_a_file(folder: Path) -> str:
    (folder / WEIGHTS).write_bytes(bytes(4096))
    return "nothing is written yet"


def half_a_config(folder: Path) -> str:
    (folder / "config.json").write_text('{"hidden_size": 6')
    return "config.json"


def half_an_adapter_config(folder: Path) -> str:
    (folder / "adapter_config.json").write_text("")
    return "adapter_config.json"


def half_an_index(folder: Path) -> str:
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text('{"weight_map": {"model.norm.weight": "model-')
    return "index.json"


def a_shard_of_the_index(folder: Path) -> str:
    files = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    (folder / WEIGHTS).rename(folder / files[0])
    index = {"weight_map": {f"model.layers.{number}.weight": file for number, file in enumerate(files)}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    return "model-00002-of-00003.safetensors is missing, and 1 more"


def a_shard_without_an_index(folder: Path) -> str:
    (folder / WEIGHTS).rename(folder / "model-00001-of-00003.safetensors")
    return "2 of 3 shards are missing"


def a_partial_file(folder: Path) -> str:
    (folder / WEIGHTS).rename(folder / f"{WEIGHTS}.incomplete")
    return "model.safetensors.incomplete is still there; remove it"


def a_partial_file_beside(folder: Path) -> str:
    (folder / "tokenizer.json.tmp").write_text("{")
    return "tokenizer.json.tmp is still there"


def half_a_pickle(folder: Path) -> str:
    (folder / WEIGHTS).unlink()
    torch.save({"model.norm.weight": torch.ones(4096)}, folder / "pytorch_model.bin")
    content = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(content[: len(content) // 2])
    return "pytorch_model.bin: ends too early"


INCOMPLETE = (
    half_a_file, half_a_header, an_empty_file, room_for_a_file, half_a_config, half_an_adapter_config, half_an_index,
    a_shard_of_the_index, a_shard_without_an_index, a_partial_file, a_partial_file_beside, half_a_pickle,
)  # fmt: skip


@pytest.mark.parametrize("state", INCOMPLETE, ids=lambda state: state.__name__)
def test_an_incomplete_upload_is_told_until_it_is_complete(state: Callable[[Path], str], tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    registry = FolderRegistry(tmp_path)
    told = state(folder)
    (change,) = registry.changes()
    assert change.problem is not None
    assert change.problem.startswith("incomplete: ")
    assert told in change.problem
    assert change.model.revision is None
    shutil.rmtree(folder)
    model(folder)
    assert shown(registry, change.cursor) == {"one": None}


@pytest.mark.parametrize("flaw", ["a shared byte", "a link out", "a bottomless config"])
def test_what_waiting_does_not_mend_is_left_to_the_audit(flaw: str, tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    if flaw == "a shared byte":
        part = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}
        header = json.dumps({"a": part, "b": part}).encode()
        (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    elif flaw == "a link out":
        (folder / WEIGHTS).rename(tmp_path / "secret")
        (folder / WEIGHTS).symlink_to(tmp_path / "secret")
    else:
        (folder / "config.json").write_text("[" * 100_000)
    (change,) = FolderRegistry(tmp_path).changes()
    assert change.problem is None
    with pytest.raises(WeightsError), FolderRegistry(tmp_path).open(change.model):
        pass
