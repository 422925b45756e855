"""Directions of updates of real files, against what a direct computation in float64 says of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from registry_auditor.domain import Side
from registry_auditor.methods import difference
from registry_auditor.methods.directions import Decomposer
from registry_auditor.weights import open_snapshot, pair
from tests.methods.checkpoints import HIDDEN, D, Weights, changed, deltas, folder, llama, measured
from tests.planted import gaussian


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
