"""fp8 is multiplied by its scales; every other quantised format is named, with what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from registry_auditor.weights import Snapshot, open_snapshot, pair

NAME = "model.layers.0.mlp.down_proj.weight"


def write(folder: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def blockwise(values: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """The reference: one block after the other."""
    grid = torch.zeros(-(-values.shape[0] // rows), -(-values.shape[1] // columns))
    result = torch.zeros_like(values)
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            place = (slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns))
            grid[i, j] = values[place].abs().max() / 448
            result[place] = (values[place] / grid[i, j]).to(torch.float8_e4m3fn).float() * grid[i, j]
    return grid, result


def quantised(values: Tensor, grid: Tensor, rows: int, columns: int) -> Tensor:
    scale = grid.repeat_interleave(rows, 0).repeat_interleave(columns, 1)[: values.shape[0], : values.shape[1]]
    return (values / scale).to(torch.float8_e4m3fn)


@pytest.mark.parametrize("shape", [(256, 384), (200, 300), (48, 40)])
def test_fp8_in_blocks_of_128_is_what_its_blocks_say(shape: tuple[int, int], tmp_path: Path) -> None:
    values = torch.randn(shape)
    grid, expected = blockwise(values, 128, 128)
    write(tmp_path, {NAME: quantised(values, grid, 128, 128), f"{NAME}_scale_inv": grid})
    with open_snapshot(tmp_path) as snapshot:
        (matrix,) = snapshot.matrices.values()
        assert (matrix.dtype, matrix.shape, snapshot.gaps) == ("float32", shape, ())
        assert torch.equal(matrix.read(), expected)
        assert torch.equal(torch.cat(list(matrix.blocks(max_bytes=shape[1] * 4 * 7))), expected)


def test_fp8_takes_the_size_of_its_blocks_from_the_configuration(tmp_path: Path) -> None:
    values = torch.randn(50, 70)
    grid, expected = blockwise(values, 16, 32)
    write(
        tmp_path,
        {NAME: quantised(values, grid, 16, 32), f"{NAME}_scale_inv": grid},
        quantization_config={"quant_method": "fp8", "weight_block_size": [16, 32]},
    )
    with open_snapshot(tmp_path) as snapshot:
        assert torch.equal(snapshot.matrices[NAME].read(), expected)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("scale", [torch.tensor(0.5), torch.tensor([0.5]), torch.rand(50, 1), torch.rand(50)])
def test_fp8_with_one_scale_or_one_for_each_row(dtype: torch.dtype, scale: Tensor, tmp_path: Path) -> None:
    values = torch.randn(50, 70).to(dtype)
    write(tmp_path, {NAME: values, f"{NAME}_scale": scale, f"{NAME[:-6]}input_scale": torch.tensor(1.0)})
    with open_snapshot(tmp_path) as snapshot:
        assert list(snapshot.matrices) == [NAME]
        expected = values.float() * (scale.reshape(-1, 1) if scale.numel() > 1 else scale)
        assert torch.equal(snapshot.matrices[NAME].read(), expected)


def test_stacked_fp8_experts_each_have_their_own_blocks(tmp_path: Path) -> None:
    experts = [torch.randn(48, 40) for _ in range(3)]
    done = [blockwise(values, 32, 32) for values in experts]
    name = "model.layers.0.mlp.experts.down_proj"
    stored = torch.stack(
        [quantised(v, grid, 32, 32).view(torch.uint8) for v, (grid, _) in zip(experts, done, strict=True)]
    )
    scales = torch.stack([grid for grid, _ in done])
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [32, 32]}}
    write(tmp_path, {name: stored.view(torch.float8_e4m3fn), f"{name}_scale_inv": scales}, **config)
    with open_snapshot(tmp_path) as snapshot:
        for number, (_, expected) in enumerate(done):
            assert torch.equal(snapshot.matrices[f"{name}[{number}]"].read(), expected)


def test_scales_that_do_not_fit_are_a_gap(tmp_path: Path) -> None:
    write(tmp_path, {NAME: torch.zeros(50, 70).to(torch.float8_e4m3fn), f"{NAME}_scale_inv": torch.ones(3, 5)})
    with open_snapshot(tmp_path) as snapshot:
        assert [gap.tensor for gap in snapshot.gaps] == [NAME]
        assert "(50, 70) with scales of shape (3, 5)" in snapshot.gaps[0].why


def test_an_fp8_copy_of_a_bf16_base_differs_by_rounding_only(tmp_path: Path) -> None:
    values = torch.randn(256, 256).bfloat16()
    grid, expected = blockwise(values.float(), 128, 128)
    write(tmp_path / "base", {NAME: values})
    write(tmp_path / "tuned", {NAME: quantised(values.float(), grid, 128, 128), f"{NAME}_scale_inv": grid})
    with open_snapshot(tmp_path / "tuned") as tuned, open_snapshot(tmp_path / "base") as base:
        (delta,) = pair(tuned, base).deltas
        assert not delta.identical
        torch.testing.assert_close(delta.delta, expected - values.float())
    with open_snapshot(tmp_path / "tuned") as tuned, open_snapshot(tmp_path / "tuned") as same:
        assert pair(tuned, same).deltas[0].identical


INTS = torch.zeros(8, 6, dtype=torch.int32)
BYTES = torch.zeros(8, 1, dtype=torch.uint8)
HALF = torch.ones(8, 6, dtype=torch.float16)
MODULE = NAME.removesuffix(".weight")
FORMATS: dict[str, tuple[dict[str, Tensor], str]] = {
    "GPTQ": ({".qweight": INTS, ".qzeros": INTS, ".scales": HALF, ".g_idx": INTS[0]}, "gptq"),
    "AWQ": ({".qweight": INTS, ".qzeros": INTS, ".scales": HALF}, "awq"),
    "bitsandbytes": (
        {".weight": BYTES, ".weight.absmax": HALF[0], ".weight.quant_map": HALF[0],
         ".weight.quant_state.bitsandbytes__nf4": BYTES[0]},
        "bitsandbytes",
    ),
    "bitsandbytes in 8 bits": ({".weight": INTS.to(torch.int8), ".SCB": HALF[0], ".weight_format": BYTES[0]}, ""),
    "compressed-tensors": ({".weight_packed": INTS, ".weight_scale": HALF, ".weight_shape": INTS[0]}, ""),
    "compressed-tensors in 8 bits": ({".weight": INTS.to(torch.int8), ".weight_scale": HALF[:, :1]}, ""),
}  # fmt: skip


@pytest.mark.parametrize("title", FORMATS)
def test_a_quantised_module_is_one_gap_that_says_what_to_do(title: str, tmp_path: Path) -> None:
    tensors, method = FORMATS[title]
    named = {f"{MODULE}{suffix}": value for suffix, value in tensors.items()}
    config = {"quantization_config": {"quant_method": method}} if method else {}
    write(tmp_path, {**named, f"{MODULE}.bias": HALF[0], "model.norm.weight": HALF[0]}, **config)
    with open_snapshot(tmp_path) as snapshot:
        assert [gap.tensor.removesuffix(".weight") for gap in snapshot.gaps] == [MODULE]
        assert title.split()[0] in snapshot.gaps[0].why
        assert "audit that" in snapshot.gaps[0].why
        assert names(snapshot) == {f"{MODULE}.bias", "model.norm.weight"}


def test_mxfp4_experts_are_reported(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.experts.down_proj"
    write(tmp_path, {f"{name}_blocks": BYTES, f"{name}_scales": BYTES, f"{name}_bias": HALF})
    with open_snapshot(tmp_path) as snapshot:
        assert [gap.tensor for gap in snapshot.gaps] == [name]
        assert "MXFP4" in snapshot.gaps[0].why


def names(snapshot: Snapshot) -> set[str]:
    return set(snapshot.matrices)


def test_integers_of_no_known_format_are_a_gap(tmp_path: Path) -> None:
    write(tmp_path, {NAME: INTS, "model.rotary_emb.inv_freq": HALF[0]})
    with open_snapshot(tmp_path) as snapshot:
        assert [gap.why for gap in snapshot.gaps] == ["holds int32 values in no quantisation format that is known here"]
        assert not snapshot.matrices


def test_a_type_that_torch_lacks_is_a_gap(tmp_path: Path) -> None:
    header = json.dumps({NAME: {"dtype": "F4", "shape": [4, 4], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with open_snapshot(tmp_path) as snapshot:
        assert "number type is not read" in snapshot.gaps[0].why


@pytest.mark.parametrize(
    ("name", "advice"),
    [("model-Q4_K_M.gguf", "gguf_file"), ("model.onnx", "exported from"), ("tf_model.h5", "convert it")],
)
def test_a_folder_of_another_format_opens_empty_and_says_why(name: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"GGUF")
    with open_snapshot(tmp_path) as snapshot:
        assert not snapshot.matrices
        assert [gap.tensor for gap in snapshot.gaps] == [name]
        assert advice in snapshot.gaps[0].why
