import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from registry_auditor.numerics.nulls import discoveries
from registry_auditor.numerics.rows import RowMatrix
from registry_auditor.numerics.unembed import Probes, project
from tests.planted import gaussian

D, VOCABULARY, FAMILY = 512, 4000, 8


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def vocabulary(*, d: int = D, n: int = VOCABULARY, outliers: bool = False) -> Tensor:
    """Rows in families of related ones, with a strong common mean, uneven variances and lengths, as networks have."""
    families = gaussian(n // FAMILY, d, seed=1000).repeat_interleave(FAMILY, 0)
    rows = (families + gaussian(n, d, seed=1001)) * torch.linspace(2.0, 0.3, d)
    rows += 6.0 * torch.outer(gaussian(n, seed=1004), unit(gaussian(d, seed=1005)) * d**0.5 / 8)
    rows = rows * torch.empty(n, 1).uniform_(0.5, 2.0, generator=generator(1002)) + 2.0 * gaussian(d, seed=1003)
    if outliers:
        rows[5:8] *= 300
        rows[-200:] = rows[-1]
    return rows


def probes(vectors: Tensor, gains: Tensor | None = None, *, centred: bool = False) -> Probes:
    gains = torch.ones(1, vectors.shape[1]) if gains is None else gains
    return Probes(vectors, gains, torch.arange(len(vectors)) % len(gains), centred)


def p_of_chance(rows: Tensor, gains: Tensor | None = None, *, centred: bool = False, audits: int = 12) -> np.ndarray:
    """P-values of fresh random directions, few from each of several nulls so that they are nearly independent."""
    found = []
    for seed in range(audits):
        fresh = probes(gaussian(60, rows.shape[1], seed=seed), gains, centred=centred)
        found.append(project(RowMatrix.dense(rows), fresh, null=600, top=1, seed=seed).p_values)
    return np.stack(found)


def test_scores_are_standardised_cosines_with_the_rows_own_part() -> None:
    rows, gain = vocabulary(d=32, n=400), torch.rand(32, generator=generator(3)) + 0.5
    vectors = gaussian(7, 32, seed=4)
    found = project(RowMatrix.dense(rows), probes(vectors, gain[None]), top=400)

    lengths = rows.norm(dim=1, keepdim=True)
    centred = (rows - (rows * (lengths.median() / lengths).clamp_max(1.0)).mean(0)).double()
    common = torch.linalg.svd(unit(centred), full_matrices=False).Vh[0]
    own = unit((centred - torch.outer(centred @ common, common)) * gain)
    scores = math.sqrt(32) * unit(vectors.double()) @ own.T
    scores /= scores.square().mean(1, keepdim=True).sqrt().clamp_min(1.0)
    assert torch.allclose(found.top.double(), scores.sort(descending=True).values, atol=1e-3)
    assert torch.allclose(scores.gather(1, found.bottom_ids), found.bottom.double(), atol=1e-3)
    assert found.clarity == pytest.approx(scores.abs().amax(1).numpy(), abs=1e-3)


@pytest.mark.parametrize("outliers", [False, True], ids=["anisotropic", "outliers and identical rows"])
@pytest.mark.parametrize("centred", [False, True], ids=["rms", "layernorm"])
def test_random_directions_have_uniform_p_values(outliers: bool, centred: bool) -> None:
    rows = vocabulary(d=64, n=2000, outliers=outliers)
    gain = torch.rand(1, 64, generator=generator(5)) + 0.2
    p = p_of_chance(rows, gain, centred=centred)
    assert kstest(p.flatten(), "uniform").pvalue > 0.02
    assert (p <= 0.01).mean() < 0.02
    assert sum(discoveries(audit).any() for audit in p) <= 2  # of 12; one in twenty is allowed to


def test_random_directions_have_uniform_p_values_under_very_different_gains() -> None:
    gains = gaussian(6, 64, seed=6).exp()
    gains[0] = 0.01
    gains[0, :6] = 1.0  # the first layers of real networks have gains like this
    p = p_of_chance(vocabulary(d=64, n=2000), gains)
    assert kstest(p.flatten(), "uniform").pvalue > 0.02
    assert sum(discoveries(audit).any() for audit in p) <= 2  # of 12; one in twenty is allowed to


@pytest.mark.parametrize("outliers", [False, True], ids=["anisotropic", "outliers and identical rows"])
def test_finds_tokens_their_families_and_tokens_under_three_times_the_noise(outliers: bool) -> None:
    rows = vocabulary(outliers=outliers)
    tokens = torch.arange(100, 3700, 120)
    members = tokens[:, None] // FAMILY * FAMILY + torch.arange(FAMILY)
    noise = unit(gaussian(len(tokens), D, seed=7))
    planted = {
        "row": rows[tokens],
        "family": rows[members].mean(1),
        "noisy": unit(rows[tokens] - rows.mean(0)) + 3 * noise,
    }
    for name, vectors in planted.items():
        found = project(RowMatrix.dense(rows), probes(vectors))
        assert np.median(found.p_values) < 1e-3, name
        assert discoveries(found.p_values).mean() > 0.7, name
        wanted = members if name == "family" else tokens[:, None]
        # what shares the mean of all rows is also near to the outliers, of which there are three
        assert (found.top_ids[:, :4, None] == wanted[:, None]).any(2).any(1).float().mean() > 0.7, name


def test_a_clear_direction_has_a_p_value_far_below_the_size_of_the_null() -> None:
    rows = vocabulary()
    p = project(RowMatrix.dense(rows), probes(rows[:1] - rows.mean(0)), null=100).p_values
    assert p[0] < 1e-12


def test_noise_in_the_space_of_the_embeddings_is_not_taken_for_meaning() -> None:
    rows = vocabulary()
    strongest = torch.linalg.svd(rows - rows.mean(0), full_matrices=False).Vh[:24]
    inside = gaussian(60, 24, seed=8) @ strongest
    found = project(RowMatrix.dense(rows), probes(inside))
    assert not discoveries(found.p_values).any()


def test_a_layernorm_does_not_see_the_mean_of_a_direction() -> None:
    rows = vocabulary()
    vectors = unit(gaussian(5, D, seed=9))
    plain = project(RowMatrix.dense(rows), probes(vectors - vectors.mean(1, keepdim=True), centred=True))
    shifted = project(RowMatrix.dense(rows), probes(vectors - vectors.mean(1, keepdim=True) + 1e-3, centred=True))
    assert torch.equal(plain.top_ids, shifted.top_ids)


def test_the_length_and_the_order_of_directions_do_not_matter() -> None:
    rows, vectors = vocabulary(), gaussian(6, D, seed=10)
    gains = gaussian(3, D, seed=11).exp()
    one = project(RowMatrix.dense(rows), probes(vectors, gains))
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    other = project(RowMatrix.dense(rows), Probes(7.5 * vectors[order], gains, order % 3))
    assert torch.equal(one.top_ids[order], other.top_ids)
    assert torch.allclose(one.bottom[order], other.bottom, atol=1e-5)


def test_streams_blocks_of_any_size_and_type_in_two_passes() -> None:
    rows = vocabulary().bfloat16()
    passes = []

    def blocks() -> Iterator[Tensor]:
        passes.append(1)
        return (block.float() for block in torch.split(rows, 333))

    vectors = probes(gaussian(9, D, seed=12))
    whole = project(RowMatrix.dense(rows.float()), vectors)
    streamed = project(RowMatrix((VOCABULARY, D), blocks), vectors)
    assert len(passes) == 2
    assert torch.equal(whole.top_ids, streamed.top_ids)
    assert np.allclose(whole.clarity, streamed.clarity, atol=1e-4)


def test_the_same_seed_gives_the_same_numbers() -> None:
    rows, vectors = RowMatrix.dense(vocabulary()), probes(gaussian(20, D, seed=13))
    one, same, other = (project(rows, vectors, seed=seed).p_values for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_a_vocabulary_of_one_row_or_of_equal_rows_says_nothing() -> None:
    for rows in (torch.ones(1, 8), torch.ones(50, 8), torch.zeros(50, 8)):
        found = project(RowMatrix.dense(rows), probes(gaussian(4, 8, seed=14)))
        assert (found.p_values == 1.0).all()
        assert (found.clarity == 0.0).all()


@pytest.mark.parametrize("size", [1e17, 1e20])
def test_rows_of_absurd_size_do_not_overflow(size: float) -> None:
    rows = vocabulary()
    rows[7] = size
    assert np.isfinite(project(RowMatrix.dense(rows), probes(gaussian(4, D, seed=15))).clarity).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refuses_rows_that_are_no_numbers(bad: float) -> None:
    rows = vocabulary()
    rows[123, 4] = bad
    with pytest.raises(ValueError, match="vocabulary matrix"):
        project(RowMatrix.dense(rows), probes(gaussian(4, D, seed=16)))


@pytest.mark.parametrize(
    ("vectors", "null", "why"),
    [
        (torch.zeros(2, D), 500, "zero"),
        (torch.full((2, D), float("nan")), 500, "NaN"),
        (torch.ones(2, D + 1), 500, "belong together"),
        (torch.ones(2, D), 3, "null is 3"),
    ],
)
def test_refuses_directions_that_cannot_be_read(vectors: Tensor, null: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        project(RowMatrix.dense(vocabulary()), probes(vectors), null=null)
