"""Against float64 `torch.linalg.svd`, on planted updates."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from registry_auditor.numerics.noise import signal_rank
from registry_auditor.numerics.rows import Energy, RowMatrix
from registry_auditor.numerics.svd import SVD, TOLERANCE, truncated_svd
from tests.planted import gaussian


def orthonormal(size: int, rank: int, seed: int) -> Tensor:
    return torch.linalg.qr(gaussian(size, rank, seed=seed).double())[0]


def planted(shape: tuple[int, int], strengths: Tensor, *, seed: int = 0, noise: float = 1.0) -> Tensor:
    """Directions of these strengths, in units of the largest singular value of the noise around them."""
    m, n = shape
    edge = noise * (m**0.5 + n**0.5)
    U, V = orthonormal(m, len(strengths), seed), orthonormal(n, len(strengths), seed + 1)
    return ((U * strengths.double() * edge) @ V.T + noise * gaussian(m, n, seed=seed + 2).double()).float()


def exact(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.linalg.svd(matrix.double(), full_matrices=False)


def exact_rank(matrix: Tensor, k: int) -> int:
    U, S, Vh = exact(matrix)
    energy = Energy.of(RowMatrix.dense(matrix))
    return signal_rank(S[: k + 1].numpy(), energy, U[:, :k].numpy(), Vh[:k].T.numpy())[0]


def cosines(found: SVD, matrix: Tensor, *, gap: float = 0.05) -> list[float]:
    """|cos| of both vectors of each triplet above the noise whose neighbours are that far away."""
    U, S, Vh = exact(matrix)
    near = torch.cat([torch.tensor([torch.inf]), S]).double()
    both = []
    for i in range(found.signal):
        if min(near[i] - S[i], S[i] - S[i + 1]) >= gap * S[i]:
            both += [float((found.U[:, i].double() @ U[:, i]).abs()), float((found.Vh[i].double() @ Vh[i]).abs())]
    return both


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(400, 700), (700, 400), (512, 512), (96, 300)])
def test_finds_what_the_full_decomposition_finds(shape: tuple[int, int], dtype: torch.dtype) -> None:
    base = gaussian(*shape, seed=9).mul(0.02).to(dtype)
    change = planted(shape, torch.logspace(0.8, 0.2, 8), noise=2e-4)
    update = (base.float() + change).to(dtype).float() - base.float()
    found = truncated_svd(RowMatrix.dense(update), 20)
    assert found.signal == exact_rank(update, 20) > 0
    torch.testing.assert_close(found.S[: found.signal], exact(update)[1][: found.signal], rtol=1e-6, atol=0)
    assert min(cosines(found, update)) >= 0.9999


@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (64, 200), (2000, 300)])
def test_the_residual_is_that_of_the_triplet(shape: tuple[int, int]) -> None:
    update = planted(shape, torch.linspace(4, 1.3, 10))
    found = truncated_svd(RowMatrix.dense(update), 15)
    A, U, V = update.double(), found.U.double(), found.Vh.T.double()
    right = torch.linalg.vector_norm(A @ V - U * found.S, dim=0) / found.S
    left = torch.linalg.vector_norm(A.T @ U - V * found.S, dim=0) / found.S
    assert (torch.maximum(right, left) <= found.residual * 1.01 + 1e-6).all()
    assert (found.residual[: found.signal] <= TOLERANCE).all()


@pytest.mark.parametrize("k", [1, 5, 16, 20])
@pytest.mark.parametrize("shape", [(300, 420), (576, 192)])
def test_equal_directions_do_not_mask_one_another(shape: tuple[int, int], k: int) -> None:
    update = planted(shape, torch.full((16,), 3.0))
    assert truncated_svd(RowMatrix.dense(update), k).signal == min(k, 16)


@pytest.mark.parametrize("shape", [(288, 768), (768, 288), (576, 640)])
@pytest.mark.parametrize("strength", [0.7, 0.95, 1.05])  # of which 1.06, 1.15 and more times the edge is seen
def test_weak_directions_count_as_in_the_full_decomposition(shape: tuple[int, int], strength: float) -> None:
    update = planted(shape, torch.full((3,), strength), seed=5)
    assert truncated_svd(RowMatrix.dense(update), 20).signal == exact_rank(update, 20)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(64, 64), (64, 172), (300, 700), (900, 300)])
def test_pure_noise_has_no_directions(shape: tuple[int, int], seed: int) -> None:
    found = truncated_svd(RowMatrix.dense(gaussian(*shape, seed=seed)), 20, seed=seed)
    assert found.signal == 0
    assert float(found.S[0]) <= found.edge


def bf16(weight: Tensor) -> Tensor:
    return weight.bfloat16().float()


def int8_rows(weight: Tensor) -> Tensor:
    scale = weight.abs().amax(1, keepdim=True) / 127
    return (weight / scale).round() * scale


def int4_blocks(weight: Tensor) -> Tensor:
    blocks = weight.view(len(weight), -1, 32)
    scale = blocks.abs().amax(2, keepdim=True) / 7
    return ((blocks / scale).round() * scale).view(weight.shape)


@pytest.mark.parametrize("spread", [0.15, 0.3, 0.5])  # of the logarithms of row and column scales
@pytest.mark.parametrize("stored", [bf16, int8_rows, int4_blocks])
def test_a_quantised_copy_has_no_directions(stored: Callable[[Tensor], Tensor], spread: float) -> None:
    found = []
    for seed in range(4):
        for m, n in ((64, 64), (64, 160), (128, 512), (300, 96), (288, 768)):
            rows, columns = gaussian(m, 1, seed=seed + 10), gaussian(1, n, seed=seed + 20)
            weight = gaussian(m, n, seed=seed) * torch.exp(spread * rows) * torch.exp(spread * columns)
            found.append(truncated_svd(RowMatrix.dense(stored(weight) - weight), 20).signal)
    assert sum(signal > 0 for signal in found) == 0  # of 20


def test_the_same_seed_gives_the_same_bits() -> None:
    update = planted((400, 700), torch.linspace(4, 1.3, 10))
    first, second = (truncated_svd(RowMatrix.dense(update), 20, seed=3) for _ in range(2))
    assert torch.equal(first.U, second.U)
    assert torch.equal(first.S, second.S)
    assert torch.equal(first.Vh, second.Vh)


@pytest.mark.parametrize("shape", [(400, 700), (50, 60)])
def test_the_largest_entry_of_every_u_is_positive(shape: tuple[int, int]) -> None:
    U = truncated_svd(RowMatrix.dense(planted(shape, torch.linspace(4, 2, 6))), 6).U
    assert (U.gather(0, U.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("shape", [(500, 300), (300, 500), (90, 120)])
def test_a_streamed_matrix_has_the_directions_of_the_held_one(shape: tuple[int, int]) -> None:
    update = planted(shape, torch.linspace(5, 2, 5))

    def blocks() -> Iterator[Tensor]:
        yield from (part.clone() for part in update.split(37))

    held, streamed = truncated_svd(RowMatrix.dense(update), 8), truncated_svd(RowMatrix(shape, blocks), 8)
    assert streamed.signal == held.signal == 5
    torch.testing.assert_close(streamed.S[:5], held.S[:5])
    torch.testing.assert_close(streamed.U[:, :5], held.U[:, :5], atol=1e-4, rtol=0)


def test_the_transpose_has_the_same_directions() -> None:
    update = planted((400, 600), torch.linspace(5, 2, 5))
    one, other = truncated_svd(RowMatrix.dense(update), 8), truncated_svd(RowMatrix.dense(update.T), 8).transposed()
    assert one.signal == other.signal == 5
    assert (torch.linalg.vecdot(one.U[:, :5], other.U[:, :5], dim=0).abs() > 0.99999).all()


def test_a_slowly_falling_spectrum_is_resolved() -> None:
    m, n = 500, 700
    update = ((orthonormal(m, m, 1) * torch.arange(1, m + 1).double().pow(-0.3)) @ orthonormal(n, m, 2).T).float()
    found = truncated_svd(RowMatrix.dense(update), 20)
    torch.testing.assert_close(found.S, exact(update)[1][:20], rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(400, 500), (500, 400)])
def test_falls_back_to_the_full_decomposition_where_the_tolerance_is_not_reached(shape: tuple[int, int]) -> None:
    update = planted(shape, torch.linspace(3, 2, 9))
    found = truncated_svd(RowMatrix.dense(update), 20, tolerance=0.0)
    torch.testing.assert_close(found.S, exact(update)[1][:20], rtol=1e-6, atol=0)
    assert found.residual.max() < 1e-5


def zeros_but(shape: tuple[int, int], rows: slice | list[int], columns: slice | list[int]) -> Tensor:
    update = torch.zeros(shape)
    part = update[rows][:, columns]
    update[np.ix_(np.arange(shape[0])[rows], np.arange(shape[1])[columns])] = gaussian(*part.shape)
    return update


@pytest.mark.parametrize(
    ("update", "rank"),
    [
        (zeros_but((3000, 300), [7, 80, 2000], slice(None)), 3),  # three tokens of an embedding
        (zeros_but((300, 3000), slice(None), [7, 80, 2000]), 3),
        (zeros_but((600, 800), slice(None), [300, 500, 700, 750, 799]), 5),  # none in the columns of the start
        (zeros_but((600, 500), [3], [5]), 1),
    ],
)
def test_a_sparse_update_is_content_however_small(update: Tensor, rank: int) -> None:
    found = truncated_svd(RowMatrix.dense(1e-6 * update), 20)
    assert found.signal == len(found.S) == rank
    torch.testing.assert_close(found.S, 1e-6 * exact(update)[1][:rank], rtol=1e-6, atol=0)


def test_finds_directions_that_share_nothing_with_the_first_columns() -> None:
    update = torch.block_diag(gaussian(300, 100), planted((300, 700), torch.linspace(4, 2, 5), seed=4))
    found = truncated_svd(RowMatrix.dense(update), 20)
    assert found.signal == 5
    torch.testing.assert_close(found.S[:5], exact(update)[1][:5], rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [1e-42, 1e-38, 1e-30, 1e30, 1e36])
@pytest.mark.parametrize("shape", [(300, 420), (60, 80)])
def test_the_scale_changes_nothing_but_the_scale(shape: tuple[int, int], scale: float) -> None:
    update = (planted(shape, torch.linspace(5, 2, 5)).double() * scale).float()
    found = truncated_svd(RowMatrix.dense(update), 8)
    assert found.signal == 5
    torch.testing.assert_close(found.S[:5], exact(update)[1][:5], rtol=1e-5, atol=0)
    assert found.residual[:5].max() <= TOLERANCE


@pytest.mark.parametrize("shape", [(300, 420), (6, 5)])
def test_nothing_has_no_triplets(shape: tuple[int, int]) -> None:
    found = truncated_svd(RowMatrix.dense(torch.zeros(shape)), 3)
    assert (found.U.shape, found.S.shape, found.Vh.shape) == ((shape[0], 0), (0,), (0, shape[1]))
    assert found.signal == 0


@pytest.mark.parametrize("k", [0, -1, 31])
def test_names_the_range_of_k(k: int) -> None:
    with pytest.raises(ValueError, match="50 × 30 matrix has 1 to 30"):
        truncated_svd(RowMatrix.dense(gaussian(50, 30)), k)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("shape", [(50, 30), (400, 500)])
def test_refuses_what_is_not_finite(shape: tuple[int, int], bad: float) -> None:
    update = gaussian(*shape)
    update[3, 4] = bad
    with pytest.raises(ValueError, match="NaN or an infinite"):
        truncated_svd(RowMatrix.dense(update), 5)
