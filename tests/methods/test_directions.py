"""Updates of real files, against what a direct computation in float64 says of them."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from registry_auditor.domain import Side
from registry_auditor.errors import TensorError
from registry_auditor.methods import difference
from registry_auditor.methods.directions import Decomposer, MatrixUpdate
from registry_auditor.weights import Delta, open_snapshot, pair

D, HIDDEN, WORDS = 160, 320, 700
Weights = dict[str, Tensor]


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def low_rank(m: int, n: int, rank: int, *, seed: int = 0) -> Tensor:
    """Singular values around √(m n) · √rank, far above noise of unit entries."""
    return gaussian(m, rank, seed=seed) @ gaussian(rank, n, seed=seed + 1)


def llama(dtype: torch.dtype = torch.float32, scale: float = 0.02) -> Weights:
    """One layer, as a checkpoint names it."""
    shapes = {
        "model.embed_tokens.weight": (WORDS, D),
        "model.layers.0.self_attn.q_proj.weight": (D, D),
        "model.layers.0.self_attn.v_proj.weight": (D // 2, D),
        "model.layers.0.self_attn.o_proj.weight": (D, D),
        "model.layers.0.mlp.up_proj.weight": (HIDDEN, D),
        "model.layers.0.mlp.down_proj.weight": (D, HIDDEN),
    }
    weights = {name: (gaussian(*shape, seed=i).double() * scale) for i, (name, shape) in enumerate(shapes.items())}
    weights["model.norm.weight"] = 1 + 0.1 * gaussian(D, seed=99).double()
    return {name: weight.to(dtype) for name, weight in weights.items()}


def folder(path: Path, weights: Weights, config: dict[str, object] | None = None) -> Path:
    path.mkdir()
    save_file({name: weight.contiguous() for name, weight in weights.items()}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config or {"model_type": "llama", "tie_word_embeddings": False}))
    return path


@contextmanager
def deltas(root: Path, base: Weights, tuned: Weights, config: dict[str, object] | None = None) -> Iterator[list[Delta]]:
    paths = [folder(root / name, weights, config) for name, weights in (("base", base), ("tuned", tuned))]
    with open_snapshot(paths[0]) as one, open_snapshot(paths[1]) as other:
        yield list(pair(other, one).deltas)


def measured(
    root: Path, base: Weights, tuned: Weights, config: dict[str, object] | None = None
) -> dict[str, MatrixUpdate]:
    decomposer = Decomposer(k=20)
    with deltas(root, base, tuned, config) as found:
        return {delta.site.tensor: decomposer.measure(delta) for delta in found}


def changed(base: Weights, rank: int, size: float = 1e-4, noise: float = 1e-5) -> Weights:
    """Every matrix plus a low-rank update and noise, stored in the dtype of the base."""
    tuned = dict(base)
    for i, (name, weight) in enumerate(base.items()):
        if weight.ndim == 2:
            content, rest = low_rank(*weight.shape, rank, seed=50 + i), gaussian(*weight.shape, seed=80 + i)
            tuned[name] = (weight.double() + size * content.double() + noise * rest.double()).to(weight.dtype)
    return tuned


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_number_is_that_of_a_direct_computation(tmp_path: Path, dtype: torch.dtype) -> None:
    base = llama(dtype)
    tuned = changed(base, 4, size=1e-3, noise=1e-4)
    found = measured(tmp_path, base, tuned)
    assert len(found) == len(base)
    for name, update in found.items():
        old, new = base[name].double(), tuned[name].double()
        S = torch.linalg.svdvals(new - old) if old.ndim == 2 else torch.zeros(0)
        assert update.norm == pytest.approx(float((new - old).norm()), rel=1e-5)
        assert update.base_norm == pytest.approx(float(old.norm()), rel=1e-5)
        assert update.relative_norm == pytest.approx(update.norm / float(old.norm()), rel=1e-5)
        assert update.identical == bool((old == new).all())
        if update.decomposed:
            rest = S[update.rank :].square().sum().sqrt()
            assert update.rank == len(update.directions) == 4
            np.testing.assert_allclose(update.singular_values[:4], S[:4], rtol=1e-5)
            assert update.stable_rank == pytest.approx(float(S.square().sum() / S[0] ** 2), rel=1e-4)
            assert update.top_energy == pytest.approx(float(S[0] ** 2 / S.square().sum()), rel=1e-4)
            assert update.signal_energy == pytest.approx(float(S[:4].square().sum() / S.square().sum()), rel=1e-4)
            assert update.remainder == pytest.approx(float(rest), rel=1e-2)
            assert S[4] <= update.edge < S[3]


def test_writers_give_left_vectors_and_readers_right_ones(tmp_path: Path) -> None:
    base = llama()
    tuned = changed(base, 3)
    for name, update in measured(tmp_path, base, tuned).items():
        if update.site.side is None:
            assert update.directions == ()
            continue
        stored = tuned[name].double() - base[name].double()
        matrix = stored.T if "embed" in name else stored  # (d_out, d_in), as design has it
        U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
        exact = U.T if update.site.side is Side.WRITES else Vh
        for direction in update.directions:
            assert direction.vector.shape == (D,)
            assert direction.vector.dtype == np.float32
            assert abs(float(torch.from_numpy(direction.vector).double() @ exact[direction.rank])) > 0.9999
            assert np.linalg.norm(direction.vector.astype(np.float64)) == pytest.approx(1.0, abs=1e-6)
            assert direction.vector[np.abs(direction.vector).argmax()] > 0
            assert direction.strength == pytest.approx(float(S[direction.rank]), rel=1e-5)


def test_a_transposed_file_has_the_same_directions(tmp_path: Path) -> None:
    """GPT-2 stores (d_in, d_out)."""
    base = {
        "transformer.h.0.mlp.c_proj.weight": gaussian(HIDDEN, D),
        "transformer.h.0.mlp.c_fc.weight": gaussian(D, HIDDEN),
    }
    tuned = changed(base, 3, size=1e-3, noise=1e-4)
    found = measured(tmp_path, base, tuned, {"model_type": "gpt2"})
    down = found["transformer.h.0.mlp.c_proj.weight"]
    U, _, _ = torch.linalg.svd((tuned[down.site.tensor] - base[down.site.tensor]).T.double(), full_matrices=False)
    assert down.shape == (D, HIDDEN)
    assert down.site.side is Side.WRITES
    assert [len(update.directions) for update in found.values()] == [3, 3]
    for direction in down.directions:
        assert abs(float(torch.from_numpy(direction.vector).double() @ U[:, direction.rank])) > 0.9999


def test_a_few_changed_tokens_are_directions(tmp_path: Path) -> None:
    base = llama(torch.bfloat16)
    tuned = {name: weight.clone() for name, weight in base.items()}
    tuned["model.embed_tokens.weight"][[5, 77, 400]] += (1e-3 * gaussian(3, D, seed=7)).bfloat16()
    found = measured(tmp_path, base, tuned)
    embedding = found.pop("model.embed_tokens.weight")
    assert embedding.rank == 3
    assert all(update.identical and not update.directions and not update.decomposed for update in found.values())


def test_large_updates_are_streamed_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = llama(torch.bfloat16)
    tuned = changed(base, 4, size=1e-3, noise=1e-4)
    with deltas(tmp_path, base, tuned) as found:
        held = [Decomposer().measure(delta) for delta in found]
        monkeypatch.setattr(difference, "WORKSPACE_BYTES", 0)
        monkeypatch.setattr(difference, "BLOCK_BYTES", 4096)
        streamed = [Decomposer().measure(delta) for delta in found]
    for one, other in zip(held, streamed, strict=True):
        assert one.norm == pytest.approx(other.norm, rel=1e-5)
        assert one.base_norm == pytest.approx(other.base_norm, rel=1e-5)
        assert one.rank == other.rank
        for direction, same in zip(one.directions, other.directions, strict=True):
            np.testing.assert_allclose(direction.vector, same.vector, atol=1e-4)


def test_the_order_of_the_matrices_changes_nothing(tmp_path: Path) -> None:
    base = llama()
    with deltas(tmp_path, base, changed(base, 4)) as found:
        decomposer = Decomposer()
        forward = {delta.site.tensor: decomposer.measure(delta) for delta in found}
        backward = {delta.site.tensor: decomposer.measure(delta) for delta in reversed(found)}
    for name, update in forward.items():
        assert np.array_equal(update.singular_values, backward[name].singular_values)
        for one, other in zip(update.directions, backward[name].directions, strict=True):
            assert np.array_equal(one.vector, other.vector)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float32, 1e-30),
        (torch.float32, 1e-37),
        (torch.float32, 1e30),
        (torch.float32, 1e36),
        (torch.bfloat16, 1e-30),
        (torch.bfloat16, 1e36),
        (torch.float16, 1e-3),  # nearly all of it subnormal
        (torch.float64, 1e-200),
        (torch.float64, 1e200),
    ],
)
def test_weights_of_any_finite_scale_are_measured(tmp_path: Path, dtype: torch.dtype, scale: float) -> None:
    base = llama(dtype, scale=scale)
    tuned = changed(base, 2, size=scale * 0.1, noise=scale * 1e-3)
    for name, update in measured(tmp_path, base, tuned).items():
        if base[name].ndim == 2:
            old, new = base[name].double() / scale, tuned[name].double() / scale
            S = torch.linalg.svdvals(new - old)
            np.testing.assert_allclose(update.singular_values[:2] / scale, S[:2], rtol=1e-4)
            assert update.relative_norm == pytest.approx(float((new - old).norm() / old.norm()), rel=1e-4)
            assert update.rank == 2
            assert 0.9 < update.signal_energy <= 1.0
            assert 1.0 <= update.stable_rank < 3.0
            assert math.isfinite(update.remainder)


@pytest.mark.parametrize("size", [1e-12, 1e-20, 1e-30])
def test_a_tiny_update_of_ordinary_weights_is_not_lost(tmp_path: Path, size: float) -> None:
    base = llama(torch.float64)
    base["model.layers.0.mlp.down_proj.weight"].zero_()
    tuned = dict(base)
    tuned["model.layers.0.mlp.down_proj.weight"] = size * low_rank(D, HIDDEN, 2).double()
    for dtype in (torch.float64, torch.float32):
        cast = [{name: weight.to(dtype) for name, weight in weights.items()} for weights in (base, tuned)]
        found = measured(tmp_path / str(dtype), *cast) if (tmp_path / str(dtype)).mkdir() is None else {}
        update = found["model.layers.0.mlp.down_proj.weight"]
        assert (update.rank, update.identical) == (2, False)
        assert update.norm == pytest.approx(size * float(low_rank(D, HIDDEN, 2).norm()), rel=1e-4)


def test_float64_files_are_subtracted_in_float64(tmp_path: Path) -> None:
    base = llama(torch.float64)
    tuned = changed(base, 2, size=1e-12, noise=1e-14)  # float32 would see nothing but its own rounding
    assert {update.rank for update in measured(tmp_path, base, tuned).values() if update.decomposed} == {2}


def test_the_largest_finite_numbers_are_subtracted(tmp_path: Path) -> None:
    base = llama()
    largest = torch.finfo(torch.float32).max
    base["model.layers.0.mlp.up_proj.weight"] = torch.full((HIDDEN, D), -largest)
    tuned = dict(base)
    tuned["model.layers.0.mlp.up_proj.weight"] = torch.full((HIDDEN, D), largest)
    update = measured(tmp_path, base, tuned)["model.layers.0.mlp.up_proj.weight"]
    assert update.norm == pytest.approx(2 * largest * math.sqrt(HIDDEN * D), rel=1e-6)
    assert update.rank == 1
    assert update.relative_norm == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["base", "tuned", "both"])
def test_a_broken_tensor_is_named(tmp_path: Path, bad: float, where: str) -> None:
    name = "model.layers.0.self_attn.o_proj.weight"
    base, tuned = llama(), changed(llama(), 2)
    for weights in {"base": [base], "tuned": [tuned], "both": [base, tuned]}[where]:
        weights[name][3, 4] = bad
    with deltas(tmp_path, base, tuned) as found:
        broken = next(delta for delta in found if delta.site.tensor == name)
        with pytest.raises(TensorError, match=r"o_proj.*NaN or an infinite"):
            Decomposer().measure(broken)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_rounding_of_a_cast_is_what_is_expected_of_it(tmp_path: Path, dtype: torch.dtype) -> None:
    base = llama()
    tuned = {name: weight.to(dtype) for name, weight in base.items()}
    for update in measured(tmp_path, base, tuned).values():
        assert update.rank == 0
        if update.decomposed:
            assert 0.8 < update.norm / update.rounding < 1.2


def test_subnormal_numbers_round_by_a_fixed_step(tmp_path: Path) -> None:
    base = llama(scale=2e-6)
    tuned = {name: weight.half() for name, weight in base.items()}
    for update in measured(tmp_path, base, tuned).values():
        if update.decomposed:
            assert 0.8 < update.norm / update.rounding < 1.2


def adapter_beside_its_product(root: Path, real_data: Path, name: str) -> tuple[Path, Path, Path]:
    """The adapter, a base of its shapes with random weights, and the two merged in float32."""
    source = real_data / "adapters" / name
    tensors, config = (
        load_file(source / "adapter_model.safetensors"),
        json.loads((source / "adapter_config.json").read_text()),
    )
    base: Weights = {}
    merged: Weights = {}
    for stem in sorted({key.partition(".lora_")[0] for key in tensors}):
        A, B = tensors[f"{stem}.lora_A.weight"].float(), tensors[f"{stem}.lora_B.weight"].float()
        if ".layers.0." in stem or ".layers.29." in stem:
            weight = stem.removeprefix("base_model.model.") + ".weight"
            base[weight] = 0.05 * gaussian(len(B), A.shape[1], seed=len(base))
            merged[weight] = base[weight] + config["lora_alpha"] / config["r"] * (B @ A)
    return source, folder(root / "base", base), folder(root / "merged", merged)


@pytest.mark.parametrize("name", ["bd-hate", "benign-style"])
def test_a_real_adapter_and_its_merge_have_the_same_directions(tmp_path: Path, real_data: Path, name: str) -> None:
    source, base_path, merged_path = adapter_beside_its_product(tmp_path, real_data, name)
    decomposer = Decomposer()
    with open_snapshot(source) as adapter, open_snapshot(base_path) as base, open_snapshot(merged_path) as merged:
        dense = {delta.site.tensor: decomposer.measure(delta) for delta in pair(merged, base).deltas}
        factored = {delta.site.tensor: decomposer.measure(delta) for delta in pair(adapter, None).deltas}
    assert len(dense) == 14
    for tensor, update in dense.items():
        other = factored[tensor]
        assert update.rank == other.rank == 8
        assert other.base_norm is None
        assert update.norm == pytest.approx(other.norm, rel=1e-3)
        np.testing.assert_allclose(update.singular_values[:8], other.singular_values, rtol=1e-3)
        gaps = -np.diff(other.singular_values) / other.singular_values[:-1]
        for rank, (one, same) in enumerate(zip(update.directions, other.directions, strict=True)):
            if min([*gaps[max(0, rank - 1) : rank + 1]]) > 0.05:
                assert abs(float(one.vector @ same.vector)) > 0.999
