"""Files that lie elsewhere: what is asked for travels, nothing else does, and every number arrives."""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from registry_auditor.errors import TensorError, WeightsError
from registry_auditor.weights.remote import HEADER_BYTES, PIECE_BYTES, RemoteFile, open_remote
from registry_auditor.weights.rows import same_numbers
from tests.planted import WEIGHTS
from tests.weights.elsewhere import Elsewhere, elsewhere

MIB = 2**20


def numbers(file: RemoteFile, name: str) -> Tensor:
    raw = open_remote(file)[name]
    columns = raw.shape[-1]
    rows = raw.matrix(columns)
    return rows.rows(0, rows.shape[0]).view(raw.shape)


DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn, torch.int8]


def test_every_tensor_is_what_the_file_holds(tmp_path: Path) -> None:
    tensors = {
        f"{number}.{dtype}": (torch.randn(rows, 257) * 20).to(dtype)
        for number, rows in enumerate((1, 3, 1000, 9000))
        for dtype in DTYPES
    }
    file = elsewhere(tmp_path, tensors)
    for name, tensor in tensors.items():
        assert torch.equal(numbers(file, name).view(torch.uint8), tensor.view(torch.uint8)), name


def test_rows_that_lie_in_two_pieces_are_put_together(tmp_path: Path) -> None:
    values = torch.arange(6_000 * 1001, dtype=torch.float32).view(6_000, 1001)  # 24 MB: travels in two pieces
    file = elsewhere(tmp_path, {"small": torch.ones(3, 3), "large": values})
    rows = open_remote(file)["large"].matrix(1001)
    for start, stop in ((0, 10), (1000, 1100), (5990, 6000), (0, 6000)):
        assert torch.equal(rows.rows(start, stop), values[start:stop])
    assert len(file.asked) == 3


def test_opening_asks_for_the_header_once(tmp_path: Path) -> None:
    file = elsewhere(tmp_path, {"large": torch.zeros(4000, 1000), "other": torch.zeros(4000, 1000)})
    open_remote(file)
    assert file.asked == [(0, HEADER_BYTES)]


def test_a_header_that_is_longer_than_most_takes_a_second_request(tmp_path: Path) -> None:
    tensors = {f"model.layers.{number}.mlp.experts.weight": torch.zeros(1000) for number in range(2000)}
    file = elsewhere(tmp_path, tensors)
    assert set(open_remote(file)) == set(tensors)
    assert len(file.asked) == 2
    assert file.travelled < MIB


def test_a_small_file_travels_at_once(tmp_path: Path) -> None:
    file = elsewhere(tmp_path, {"a": torch.ones(10, 10), "b": torch.zeros(10, 10)})
    assert torch.equal(numbers(file, "a"), torch.ones(10, 10))
    assert torch.equal(numbers(file, "b"), torch.zeros(10, 10))
    assert file.asked == [(0, file.size_bytes)]


def test_nothing_travels_of_tensors_that_nobody_asks_for(tmp_path: Path) -> None:
    tensors = {name: torch.full((1000, 2500), float(number)) for number, name in enumerate("abcdef")}  # 10 MB each
    file = elsewhere(tmp_path, tensors)
    assert torch.equal(numbers(file, "c"), tensors["c"])
    assert file.travelled == 10_000_000 + HEADER_BYTES


def test_small_neighbours_travel_together(tmp_path: Path) -> None:
    tensors = {f"layers.{number:03}": torch.full((16, 1024), float(number)) for number in range(400)}  # 64 KiB each
    file = elsewhere(tmp_path, tensors)
    opened = open_remote(file)
    for name, tensor in tensors.items():
        assert torch.equal(opened[name].matrix(1024).rows(0, 16), tensor)
    assert len(file.asked) < 10
    assert max(stop - start for start, stop in file.asked) <= PIECE_BYTES
    assert file.travelled < file.size_bytes + HEADER_BYTES


def test_a_small_tensor_between_large_ones_does_not_bring_them_along(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2000, 2000), "b": torch.ones(8, 8), "c": torch.zeros(2000, 2000)}
    file = elsewhere(tmp_path, tensors)
    assert torch.equal(numbers(file, "b"), tensors["b"])
    assert file.travelled == HEADER_BYTES + 256


def test_a_difference_at_the_beginning_is_seen_without_the_rest(tmp_path: Path) -> None:
    tensors = {"one": torch.zeros(8000, 1000), "other": torch.ones(8000, 1000)}  # 32 MB each
    file = elsewhere(tmp_path, tensors)
    opened = open_remote(file)
    assert not same_numbers(opened["one"].matrix(1000), opened["other"].matrix(1000))
    assert file.travelled == 2 * PIECE_BYTES + HEADER_BYTES


def test_the_same_tensor_of_equal_files_is_equal_before_a_byte_of_it_travels(tmp_path: Path) -> None:
    file = elsewhere(tmp_path, {"a": torch.full((3000, 1000), torch.nan), "b": torch.zeros(3000, 1000)})
    one, two = open_remote(file), open_remote(Elsewhere(file.path, file.parts, file.asked))
    assert same_numbers(one["a"].matrix(1000), two["a"].matrix(1000))
    assert file.travelled == HEADER_BYTES
    assert not same_numbers(one["a"].matrix(1000), two["b"].matrix(1000))


def test_a_part_that_was_removed_to_make_room_is_fetched_again(tmp_path: Path) -> None:
    file = elsewhere(tmp_path, {"a": torch.ones(2000, 1000)})
    rows = open_remote(file)["a"].matrix(1000)
    seen = rows.rows(0, 2000)
    shutil.rmtree(file.parts)
    assert torch.equal(rows.rows(0, 2000), torch.ones(2000, 1000))
    assert torch.equal(seen, torch.ones(2000, 1000)), "what was mapped stays readable"


@dataclass(frozen=True)
class Vanishing(Elsewhere):
    """Its parts are gone before anybody can open them, the first `times`."""

    times: list[int] = field(default_factory=list, compare=False)

    def fetch(self, start: int, stop: int) -> tuple[Path, int]:
        part, position = super().fetch(start, stop)
        if start and self.times:
            self.times.pop()
            part.unlink()
        return part, position


def test_a_part_that_vanishes_in_that_very_moment_is_fetched_again(tmp_path: Path) -> None:
    made = elsewhere(tmp_path, {"a": torch.ones(2000, 1000)})
    assert torch.equal(numbers(Vanishing(made.path, made.parts, times=[1, 1]), "a"), torch.ones(2000, 1000))
    shutil.rmtree(made.parts)
    with pytest.raises(TensorError, match="can no longer be read"):
        numbers(Vanishing(made.path, made.parts, times=[1, 1, 1]), "a")


HOSTILE = {
    "a header without end": struct.pack("<Q", 2**63) + b"x" * 200_000,
    "a header beyond the limit": struct.pack("<Q", 100_000_001) + b"x" * 200_000,
    "a header longer than the file": struct.pack("<Q", 10_000_000) + b"x" * 5_000_000,
    "no JSON": struct.pack("<Q", 100) + b"x" * 5_000_000,
    "nothing": b"",
    "too short": b"1234",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_header_is_refused_from_its_beginning(kind: str, tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(HOSTILE[kind])
    file = Elsewhere(tmp_path / WEIGHTS, tmp_path / "parts")
    with pytest.raises(WeightsError, match=WEIGHTS):
        open_remote(file)
    assert file.travelled <= 200_008


@pytest.mark.parametrize("lie", [-1, 10])
def test_a_header_that_contradicts_the_size_is_refused(lie: int, tmp_path: Path) -> None:
    made = elsewhere(tmp_path, {"a": torch.ones(2000, 1000)})
    with pytest.raises(WeightsError, match=r"truncated|belong to no tensor"):
        open_remote(Elsewhere(made.path, made.parts, claimed_bytes=made.size_bytes + lie))


def test_every_number_of_a_real_layout_survives_pieces(tmp_path: Path) -> None:
    tensors = {f"model.layers.{n}.weight": torch.randn(1500, 1024).bfloat16() for n in range(8)}  # 3 MB each
    tensors |= {f"model.layers.{n}.norm": torch.randn(1024).bfloat16() for n in range(8)}
    file = elsewhere(tmp_path, tensors)
    opened = open_remote(file)
    for name, tensor in load_file(file.path).items():
        columns = tensor.shape[-1]
        rows = opened[name].matrix(columns)
        assert torch.equal(rows.rows(0, rows.shape[0]).view(tensor.shape), tensor)
