"""What all matrices say together, on networks that were changed as people change them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from registry_auditor.methods.directions import Decomposer, MatrixUpdate
from registry_auditor.methods.spectra import (
    heat_map,
    is_foreign,
    is_rank_one,
    is_rounding,
    merged_rank,
    relative_update,
    shared_direction,
)
from tests.methods.checkpoints import Weights, deltas
from tests.planted import gaussian

D, HIDDEN, LAYERS = 128, 256, 4
SHAPES = {
    "self_attn.q_proj": (D, D),
    "self_attn.o_proj": (D, D),
    "mlp.up_proj": (HIDDEN, D),
    "mlp.down_proj": (D, HIDDEN),
}
WRITERS = ("o_proj.weight", "down_proj.weight")


def network(seed: int = 0) -> Weights:
    weights = {"model.norm.weight": torch.ones(D).bfloat16()}
    for layer in range(LAYERS):
        for i, (role, shape) in enumerate(SHAPES.items()):
            weight = 0.05 * gaussian(*shape, seed=100 * seed + 10 * layer + i)
            weights[f"model.layers.{layer}.{role}.weight"] = weight.bfloat16()
    return weights


def updated(base: Weights, change: Callable[[str, Tensor], Tensor]) -> Weights:
    """Every matrix plus `change` of it, stored again as bf16."""
    return {
        name: (weight.float() + change(name, weight.float())).bfloat16() if weight.ndim == 2 else weight
        for name, weight in base.items()
    }


def adapter(rank: int, size: float = 2e-3) -> Callable[[str, Tensor], Tensor]:
    def change(name: str, weight: Tensor) -> Tensor:
        seed, (m, n) = sum(map(ord, name)), weight.shape
        return size * gaussian(m, rank, seed=seed) @ gaussian(rank, n, seed=seed + 1)

    return change


def abliterated(name: str, weight: Tensor) -> Tensor:
    """What removing one direction from all that is written to the stream changes."""
    refusal = torch.nn.functional.normalize(gaussian(D, seed=7), dim=0)
    return -torch.outer(refusal, refusal @ weight) if name.endswith(WRITERS) else torch.zeros_like(weight)


@contextmanager
def updates(root: Path, base: Weights, tuned: Weights) -> Iterator[list[MatrixUpdate]]:
    decomposer = Decomposer(k=20)
    with deltas(root, base, tuned) as found:
        yield [decomposer.measure(delta) for delta in found]


def test_finds_the_direction_that_abliteration_removed(tmp_path: Path) -> None:
    with updates(tmp_path, network(), updated(network(), abliterated)) as found:
        shared = shared_direction(found, cosine=0.9)
    assert shared is not None
    assert shared.share == 1.0
    assert shared.median_cosine > 0.99
    assert {site.tensor for site in shared.sites} == {name for name in network() if name.endswith(WRITERS)}
    changed = [update for update in found if not update.identical]
    assert all(is_rank_one(update, energy=0.5) for update in changed)
    assert len(changed) == 2 * LAYERS


def test_independent_updates_share_no_direction(tmp_path: Path) -> None:
    with updates(tmp_path, network(), updated(network(), adapter(3))) as found:
        shared = shared_direction(found, cosine=0.9)
    assert shared is not None
    assert (shared.share, shared.sites) == (0.0, ())
    assert not any(is_rank_one(update, energy=0.5) for update in found)


def test_one_changed_matrix_shares_with_nobody(tmp_path: Path) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    tuned = network() | {name: updated(network(), adapter(1))[name]}
    with updates(tmp_path, network(), tuned) as found:
        assert shared_direction(found, cosine=0.9) is None
        assert [update.site.tensor for update in found if is_rank_one(update, energy=0.5)] == [name]


@pytest.mark.parametrize("rank", [1, 4, 8, 16])
def test_finds_the_rank_of_an_adapter_that_was_merged_in_bf16(tmp_path: Path, rank: int) -> None:
    with updates(tmp_path, network(), updated(network(), adapter(rank, size=8e-3 / rank**0.5))) as found:
        assert merged_rank(found, limit=20) == rank
        assert merged_rank(found, limit=rank) is None  # a rank that fills the search is not known
        assert all(is_rounding(update) for update in found)
        assert not any(is_foreign(update) for update in found)


def test_training_in_full_is_no_merged_adapter(tmp_path: Path) -> None:
    def trained(name: str, weight: Tensor) -> Tensor:
        spectrum = torch.arange(1, min(weight.shape) + 1).float().pow(-0.5)
        U, V = (
            torch.linalg.qr(gaussian(size, len(spectrum), seed=sum(map(ord, name)) + size))[0] for size in weight.shape
        )
        return 0.3 * (U * spectrum) @ V.T

    with updates(tmp_path, network(), updated(network(), trained)) as found:
        assert merged_rank(found, limit=20) is None
        assert not any(is_rounding(update) for update in found if update.decomposed)


def test_a_cast_is_rounding_and_nothing_else(tmp_path: Path) -> None:
    precise = {name: weight.float() + 1e-4 * gaussian(*weight.shape, seed=3) for name, weight in network().items()}
    cast = {name: weight.bfloat16() for name, weight in precise.items()}
    with updates(tmp_path, precise, cast) as found:
        assert all(update.rank == 0 and is_rounding(update) for update in found)
        assert merged_rank(found, limit=20) is None
        assert shared_direction(found, cosine=0.9) is None


def test_noise_larger_than_rounding_is_not_taken_for_it(tmp_path: Path) -> None:
    with updates(
        tmp_path, network(), updated(network(), lambda _, weight: 1e-3 * gaussian(*weight.shape, seed=5))
    ) as found:
        spectra = [update for update in found if update.decomposed]
        assert all(update.rank == 0 and not is_rounding(update) for update in spectra)


def test_independent_weights_are_foreign(tmp_path: Path) -> None:
    with updates(tmp_path, network(), network(seed=1)) as found:
        matrices = [update for update in found if min(update.shape) > 1]
        assert all(is_foreign(update) for update in matrices)
        assert relative_update(matrices) == pytest.approx(2**0.5, rel=0.02)


def test_the_heat_map_has_each_role_of_each_layer_once(tmp_path: Path) -> None:
    changes = adapter(2)

    def upper(name: str, weight: Tensor) -> Tensor:
        return changes(name, weight) if ".layers.3." in name else torch.zeros_like(weight)

    with updates(tmp_path, network(), updated(network(), upper)) as found:
        cells = heat_map(found)
        total = relative_update(found)
    layered = [cell for cell in cells if cell.layer is not None]
    assert len({(cell.layer, cell.role) for cell in layered}) == len(layered) == LAYERS * len(SHAPES)
    for cell in layered:
        assert cell.matrices == 1
        assert cell.changed == (cell.layer == 3)
        assert cell.rank == (2 if cell.layer == 3 else 0)
        assert (cell.strength > 0) == (cell.layer == 3)
        assert (cell.top_energy is not None) == (cell.layer == 3)
        assert cell.relative_norm is not None
    exact = [cell.relative_norm or 0.0 for cell in layered if cell.layer == 3]
    assert total is not None
    assert 0 < total < max(exact)


def test_an_adapter_without_its_base_has_no_relative_size() -> None:
    assert relative_update([]) is None
    assert merged_rank([], limit=20) is None
    assert shared_direction([], cosine=0.9) is None
