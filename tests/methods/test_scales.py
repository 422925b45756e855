"""Updates of any finite size in weights of any dtype: measured to the precision that the file has, or named."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from registry_auditor.errors import TensorError
from registry_auditor.methods.directions import Decomposer
from tests.methods.checkpoints import HIDDEN, D, changed, deltas, llama, low_rank, measured


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
        (tmp_path / str(dtype)).mkdir()
        update = measured(tmp_path / str(dtype), *cast)["model.layers.0.mlp.down_proj.weight"]
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
