from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from registry_auditor.numerics.rows import Energy, RowMatrix, scaled, unit_for
from tests.planted import gaussian


def streamed(matrix: Tensor, rows: int) -> RowMatrix:
    """Blocks in one buffer that is written over, as a file is read."""
    buffer = torch.empty(rows, matrix.shape[1])

    def blocks() -> Iterator[Tensor]:
        for part in matrix.split(rows):
            yield buffer[: len(part)].copy_(part)

    return RowMatrix((matrix.shape[0], matrix.shape[1]), blocks)


@pytest.mark.parametrize("rows", [1, 7, 50, 64])
def test_streamed_blocks_give_the_products_of_the_held_matrix(rows: int) -> None:
    matrix, right, left = gaussian(50, 30), gaussian(30, 4, seed=1), gaussian(50, 4, seed=2)
    stream = streamed(matrix, rows)
    torch.testing.assert_close(stream.times(right), matrix @ right)
    torch.testing.assert_close(stream.transpose_times(left), matrix.T @ left)
    torch.testing.assert_close(stream.sketch(right[:9]), matrix[:, :9] @ right[:9])
    torch.testing.assert_close(stream.read(), matrix)
    for of_rows, exact in ((True, matrix.double() @ matrix.T.double()), (False, matrix.T.double() @ matrix.double())):
        torch.testing.assert_close(stream.gram(of_rows=of_rows), exact)


def test_energy_is_the_squared_norms_of_rows_and_columns() -> None:
    matrix = gaussian(50, 30)
    energy = Energy.of(streamed(matrix, 7))
    torch.testing.assert_close(energy.rows, (matrix.double() ** 2).sum(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(energy.columns, (matrix.double() ** 2).sum(0), rtol=1e-6, atol=0)
    assert energy.total == pytest.approx(float((matrix.double() ** 2).sum()), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e-6, 1e6, 1e30, 1e37])
def test_a_matrix_of_any_scale_keeps_its_energy(scale: float) -> None:
    matrix = (gaussian(50, 30).double() * scale).float()
    held = RowMatrix.dense(matrix)
    exact = matrix.double().square().sum().sqrt()
    assert Energy.of(held).total ** 0.5 * held.unit == pytest.approx(float(exact), rel=1e-6)
    assert torch.equal(held.read().double() * held.unit, matrix.double())


def test_a_unit_is_a_power_of_two_and_1_for_ordinary_numbers() -> None:
    assert [unit_for(largest) for largest in (0.0, 1e-6, 1.0, 1e6, float("inf"), float("nan"))] == [1.0] * 6
    assert 0.5 <= 3e-30 / unit_for(3e-30) < 1.0
    ordinary = gaussian(3, 3)
    assert scaled(ordinary)[0] is ordinary


def test_float64_beyond_float32_is_held() -> None:
    held, unit = scaled(gaussian(4, 4).double() * 1e-200)
    assert unit < 1e-195
    torch.testing.assert_close(held, gaussian(4, 4) * (1e-200 / unit))
