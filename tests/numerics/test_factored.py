import pytest
import torch
from torch import Tensor

from registry_auditor.numerics.factored import factored_svd
from tests.planted import gaussian


def check(B: Tensor, A: Tensor, rank: int) -> None:
    """Against the product, in float64."""
    found = factored_svd(B, A)
    product = B.double() @ A.double()
    S = torch.linalg.svdvals(product)
    assert found.signal == len(found.S) == rank
    assert found.edge == 0.0
    torch.testing.assert_close(found.S, S[:rank], rtol=1e-5, atol=1e-6 * float(S[0]))
    unit = float(S[0]) or 1.0
    rebuilt = found.U.double() @ torch.diag(found.S / unit) @ found.Vh.double()
    torch.testing.assert_close(rebuilt, product / unit, rtol=0, atol=1e-5)
    gaps = torch.linalg.vector_norm(product @ found.Vh.T.double() - found.U.double() * found.S, dim=0)
    assert (gaps <= found.S * (found.residual + 1e-5)).all()
    torch.testing.assert_close(found.U.T @ found.U, torch.eye(rank), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("m", "r", "n"), [(60, 8, 90), (90, 1, 40), (512, 16, 1408), (5, 8, 60), (60, 8, 5)])
def test_is_the_decomposition_of_the_product(m: int, r: int, n: int) -> None:
    check(gaussian(m, r), gaussian(r, n, seed=1), min(m, r, n))


def test_a_deficient_rank_is_seen() -> None:
    B, A = gaussian(50, 8), gaussian(8, 70, seed=1)
    B[:, 5] = B[:, 2]
    A[4] = 0
    A[6] = 2 * A[7]
    check(B, A, 5)
    check(torch.cat([B, torch.zeros(50, 4)], 1), torch.cat([A, gaussian(4, 70, seed=2)]), 5)


def test_an_untrained_adapter_has_no_directions() -> None:
    found = factored_svd(torch.zeros(50, 8), gaussian(8, 70))
    assert (found.U.shape, found.S.shape, found.Vh.shape, found.signal) == ((50, 0), (0,), (0, 70), 0)


@pytest.mark.parametrize("b", [1e-38, 1e-30, 1e-6, 1e30])
@pytest.mark.parametrize("a", [1e-30, 1e-5, 1e30])
def test_factors_of_any_scale(b: float, a: float) -> None:
    check(gaussian(50, 4) * b, gaussian(4, 60, seed=1) * a, 4)


def test_columns_of_very_different_scale() -> None:
    sizes = torch.tensor([1e30, 1.0, 1e-30, 1e10])
    check(gaussian(50, 4) * sizes, gaussian(4, 60, seed=1) / sizes[:, None], 4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refuses_what_is_not_finite(bad: float) -> None:
    A = gaussian(4, 60)
    A[1, 2] = bad
    with pytest.raises(ValueError, match="NaN or an infinite"):
        factored_svd(gaussian(50, 4), A)


def test_the_largest_entry_of_every_u_is_positive() -> None:
    U = factored_svd(gaussian(50, 6), gaussian(6, 70, seed=1)).U
    assert (U.gather(0, U.abs().argmax(0, keepdim=True)) > 0).all()
