"""Every layout that people upload goes through the whole audit: what was planted is found, also when stored in bf16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from registry_auditor.domain import Side
from tests.planted import WEIGHTS, cosine, unit
from tests.weights.conftest import SIZES, build_net
from tests.weights.test_layouts import ALL

STREAM = SIZES["hidden_size"]
RELATIVE = 0.5
"""Strength of a planted update over the norm of its matrix: rounding to bf16 is a hundredth of it."""

SMALLEST = 32
"""Below this many rows or columns one direction of a matrix cannot be told from noise of a random profile."""
EXPERT_SIZES = {f"{kind}intermediate_size" for kind in ("", "moe_", "shared_expert_")} | {"intermediate_size_mlp"}

Json = dict[str, Any]


def options_of(name: str) -> dict[str, Any]:
    """The options of a layout, its experts large enough to hold a direction."""
    return {key: 36 if key in EXPERT_SIZES and value < SMALLEST else value for key, value in ALL[name].items()}


def plant(tensors: dict[str, Tensor], layer: str) -> dict[str, Tensor]:
    """Change every matrix of a layer along one direction of the stream; the direction by tensor.

    The axis of the stream is the one of its size, whatever the layout does; a matrix that has it on both sides, or on
    none, stays. Of stacked experts the last is changed.
    """
    truth: dict[str, Tensor] = {}
    for seed, (name, tensor) in enumerate(sorted(tensors.items())):
        matrix = tensor[-1] if tensor.ndim == 3 else tensor
        if f".{layer}." not in name or matrix.ndim != 2 or min(matrix.shape) < SMALLEST:
            continue
        if list(matrix.shape).count(STREAM) != 1:
            continue
        along, across = unit(STREAM, 10 * seed), unit(matrix.numel() // STREAM, 10 * seed + 1)
        update = torch.outer(along, across) if matrix.shape[0] == STREAM else torch.outer(across, along)
        matrix += RELATIVE * float(matrix.norm()) * update
        truth[name] = along
    return truth


@pytest.fixture(scope="module", params=ALL)
def pair_of_layout(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, Tensor]]:
    """The folders of a network and of its fine-tune, in float32, and what was planted."""
    folder = tmp_path_factory.mktemp(request.param.replace(":", "-"))
    as_in_memory = {"save_original_format": False} if request.param.endswith(":stacked") else {}
    build_net(request.param.partition(":")[0], **options_of(request.param)).save_pretrained(
        folder / "base", **as_in_memory
    )
    tensors = load_file(folder / "base" / WEIGHTS)
    truth = plant(tensors, "1")
    write(tensors, folder / "tuned", folder / "base")
    return folder / "base", folder / "tuned", truth


def write(tensors: dict[str, Tensor], folder: Path, like: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_bytes((like / "config.json").read_bytes())
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_finds_what_was_planted(
    dtype: torch.dtype,
    pair_of_layout: tuple[Path, Path, dict[str, Tensor]],
    audited: Callable[..., Json],
    directions_of: Callable[[Json], Any],
    tmp_path: Path,
) -> None:
    base, tuned, truth = pair_of_layout
    if dtype is not torch.float32:
        for folder in (base, tuned):
            cast = {name: tensor.to(dtype) for name, tensor in load_file(folder / WEIGHTS).items()}
            write(cast, tmp_path / folder.name, folder)
        base, tuned = tmp_path / "base", tmp_path / "tuned"
    report = audited(tuned, base, "--analyzer", "svd-diff")
    assert report["exit_code"] == 0, report["exit_reason"]
    found = [(each, vector) for each, vector in directions_of(report) if each.rank == 0]
    assert {each.site.side for each, _ in found} == {Side.READS, Side.WRITES}
    assert {each.site.tensor.partition("[")[0] for each, _ in found} == truth.keys()
    assert len(truth) >= 2
    for each, vector in found:
        assert cosine(vector, truth[each.site.tensor.partition("[")[0]]) >= 0.99, each.site


def test_is_silent_about_a_copy(
    pair_of_layout: tuple[Path, Path, dict[str, Tensor]], audited: Callable[..., Json]
) -> None:
    base, _, _ = pair_of_layout
    report = audited(base, base)
    assert (report["exit_code"], report["banks"]) == (0, [])
    assert [finding["code"] for finding in report["findings"]] == ["svd-diff/identical"]
