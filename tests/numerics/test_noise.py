import numpy as np
import pytest
import torch

from registry_auditor.numerics.noise import MODEL_MARGIN, iid_edge, noise_edge, signal_rank
from registry_auditor.numerics.rows import Energy, RowMatrix
from registry_auditor.numerics.svd import truncated_svd
from tests.planted import gaussian


@pytest.mark.parametrize("tau", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize(("m", "n"), [(64, 64), (576, 192), (2048, 8192)])
def test_equal_variances_give_the_known_edge(m: int, n: int, tau: float) -> None:
    known = tau * (m**0.5 + n**0.5)
    edge = noise_edge(np.full(m, n * tau**2), np.full(n, m * tau**2))
    assert edge == pytest.approx(iid_edge(m * n * tau**2, m, n), rel=2e-3)
    assert 1.0 < edge / known < 1.1  # the margin for fluctuation, less for larger matrices


@pytest.mark.parametrize(("spread", "closeness"), [(0.2, 0.92), (0.5, 0.85), (1.0, 0.7)])  # of the log scales
@pytest.mark.parametrize(("m", "n"), [(128, 512), (400, 400)])
def test_the_edge_is_where_simulated_noise_ends(m: int, n: int, spread: float, closeness: float) -> None:
    row, column = (np.exp(spread * gaussian(size, seed=size).double().numpy()) for size in (m, n))
    edge = noise_edge(row**2 * (column**2).sum(), column**2 * (row**2).sum())
    profile = torch.from_numpy(np.outer(row, column)).float()
    largest = [float(torch.linalg.matrix_norm(gaussian(m, n, seed=seed) * profile, 2)) for seed in range(8)]
    assert max(largest) < MODEL_MARGIN * edge
    assert sum(each > edge for each in largest) <= 1
    assert np.mean(largest) > closeness * edge


def test_nothing_has_no_edge() -> None:
    assert noise_edge(np.zeros(5), np.zeros(7)) == 0.0
    assert iid_edge(0.0, 5, 7) == 0.0


def ranked(matrix: torch.Tensor, **options: int) -> int:
    U, S, Vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    return signal_rank(S.numpy(), Energy.of(RowMatrix.dense(matrix)), U.numpy(), Vh.T.numpy(), **options)[0]


@pytest.mark.parametrize("rank", [1, 8, 16, 20])
@pytest.mark.parametrize("shape", [(64, 64), (96, 96), (64, 172)])
def test_equal_directions_in_a_tiny_matrix_are_counted(shape: tuple[int, int], rank: int) -> None:
    m, n = shape
    U, V = (torch.linalg.qr(gaussian(size, rank, seed=size))[0] for size in shape)
    assert ranked(gaussian(m, n) + 2 * (m**0.5 + n**0.5) * U @ V.T) == rank


def test_noise_without_its_strongest_part_is_still_noise() -> None:
    # Its strongest triplets live in the strongest rows: taken out one by one they would make the rest look weak.
    strengths = torch.exp(0.5 * gaussian(400, 1, seed=1))
    assert [ranked(gaussian(400, 600, seed=seed) * strengths) for seed in range(2, 8)] == [0] * 6


def test_a_direction_must_clear_the_margin() -> None:
    u, v = (torch.nn.functional.normalize(gaussian(size, seed=size), dim=0) for size in (300, 500))
    noise = gaussian(300, 500)
    edge = noise_edge(np.full(300, 500.0), np.full(500, 300.0))
    for planted in torch.linspace(20, 56, 12).tolist():
        update = noise + planted * torch.outer(u, v)
        observed = float(torch.linalg.matrix_norm(update, 2)) / edge
        if abs(observed / MODEL_MARGIN - 1) > 0.02:
            assert ranked(update) == (observed > MODEL_MARGIN)


def test_the_limit_is_kept() -> None:
    U, V = torch.linalg.qr(gaussian(200, 9))[0], torch.linalg.qr(gaussian(300, 9))[0]
    update = gaussian(200, 300) + 500 * U @ V.T
    assert ranked(update) == 9
    assert ranked(update, limit=4) == 4


@pytest.mark.parametrize("shape", [(2, 2048), (4, 2048), (8, 576), (16, 48), (24, 48), (96, 64)])
def test_an_exact_low_rank_update_of_a_thin_matrix_is_found_and_noise_of_its_shape_is_not(
    shape: tuple[int, int],
) -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(shape, generator=generator)
        planted = torch.outer(noise[:, 0], noise[0])
        assert truncated_svd(RowMatrix.dense(planted), min(*shape, 20)).signal == 1
        assert truncated_svd(RowMatrix.dense(noise), min(*shape, 20)).signal == 0
