import pytest
import torch
from torch import Tensor

from registry_auditor.numerics.subspace import consensus
from tests.planted import gaussian


def unit(*shape: int, seed: int = 0) -> Tensor:
    rows = gaussian(*shape, seed=seed)
    return torch.nn.functional.normalize(rows, dim=-1)


def test_finds_the_direction_that_some_rows_share_whatever_their_signs() -> None:
    shared, rows = unit(64), unit(30, 64, seed=1)
    signs = torch.tensor([1.0, -1.0]).repeat(6)
    rows[:12] = torch.nn.functional.normalize(signs[:, None] * shared + 0.2 * unit(12, 64, seed=2), dim=1)
    found = consensus(rows)
    assert abs(float(found.direction @ shared)) > 0.99
    assert found.share(0.9) == pytest.approx(12 / 30)
    torch.testing.assert_close(found.cosines, (rows @ found.direction).abs())


@pytest.mark.parametrize(("n", "d"), [(30, 576), (60, 128)])
def test_independent_rows_share_what_chance_allows(n: int, d: int) -> None:
    found = consensus(unit(n, d))
    assert found.share(0.9) == 0.0
    assert float((found.cosines**2).mean()) == pytest.approx((1 + (n / d) ** 0.5) ** 2 / n, rel=0.15)


def test_one_row_agrees_with_itself() -> None:
    row = unit(1, 16)
    assert consensus(row).share(0.999) == 1.0
