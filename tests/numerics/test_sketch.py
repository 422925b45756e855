import hashlib

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import kstest

from registry_auditor.numerics.nulls import cosine_maximum_bound
from registry_auditor.numerics.sketch import BITS, clear_leans, leans, least_lean, overlooked, sketch

Vectors = npt.NDArray[np.float32]


def unit(vectors: npt.NDArray[np.float64]) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def pairs(cosine: float, *, count: int, d: int, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Vectors, and others at this cosine to them."""
    random = np.random.default_rng(seed)
    first = random.standard_normal((count, d))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    across = random.standard_normal((count, d))
    across -= np.sum(across * first, axis=1, keepdims=True) * first
    second = cosine * first + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across, axis=1, keepdims=True)
    return unit(first), unit(second)


def differing(one: Vectors, other: Vectors) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = np.bitwise_count(sketch(one) ^ sketch(other)).sum(axis=1, dtype=np.int64)
    return counts


def test_sketches_never_change_between_releases() -> None:
    # None of these lies so near to a hyperplane that rounding could put it on the other side.
    vectors = np.sin(11 * np.arange(3 * 40, dtype=np.float64)).reshape(3, 40).astype(np.float32)
    assert hashlib.sha256(sketch(vectors).astype("<u8").tobytes()).hexdigest() == (
        "31856e8c7f2e3e06188f66b97a84dbdfc5fa30849a89f1cbd8d08994f72f058c"
    )


@pytest.mark.parametrize("d", [2, 64, 576])
@pytest.mark.parametrize("cosine", [0.95, 0.5, 0.0, -0.5])
def test_signs_differ_as_often_as_the_angle_says(cosine: float, d: int) -> None:
    share = differing(*pairs(cosine, count=400, d=d)) / BITS
    expected = np.arccos(cosine) / np.pi
    one = np.sqrt(expected * (1 - expected) / BITS)
    # All of them share their hyperplanes, in few dimensions above all: their mean is no better than a few of them.
    assert share.mean() == pytest.approx(expected, abs=3 * one)
    assert share.std() < 1.5 * one


def test_vectors_of_few_coordinates_are_told_apart_as_well_as_any() -> None:
    d = 512
    first, second = np.zeros((2, d), np.float32)
    first[7], second[7], second[300] = 1.0, 0.6, 0.8
    (count,) = differing(first[None], second[None])
    assert abs(count / BITS - np.arccos(0.6) / np.pi) < 0.05


def test_a_vector_and_its_negative_differ_everywhere_and_its_length_does_not_matter() -> None:
    vectors = pairs(0.0, count=5, d=48)[0]
    assert (differing(vectors, -vectors) == BITS).all()
    assert (differing(vectors, 1e-6 * vectors) == 0).all()


def test_the_fast_scan_agrees_with_counting_one_by_one() -> None:
    vectors = pairs(0.0, count=20_000, d=32)[0]
    query = sketch(vectors[:1])[0]
    slow = np.abs(differing(vectors, np.broadcast_to(vectors[0], vectors.shape)) - BITS // 2)
    columns = np.ascontiguousarray(sketch(vectors).T)
    assert np.array_equal(leans(columns, query), slow)
    assert len(leans(columns[:, :0], query)) == 0


@pytest.mark.parametrize("cosine", [0.0, 0.6])  # none of them, or nearly all of them, lean clearly
def test_the_shorter_scan_leaves_out_only_what_does_not_lean_clearly(cosine: float) -> None:
    line, others = pairs(cosine, count=5000, d=300)
    vectors = others if cosine == 0 else unit(0.6 * line[0] + 0.8 * others.astype(np.float64))
    query = sketch(line[:1])[0]
    columns = np.ascontiguousarray(sketch(vectors).T)
    every = leans(columns, query)
    least = least_lean(0.5, 1e-3, bits=BITS // 2)
    some = clear_leans(columns, query, least=least)
    assert set(np.unique(some[some != every])) <= {0}
    near = np.abs(vectors @ line[0]) > 0.55
    assert np.array_equal(some[near], every[near])
    assert np.count_nonzero(some) < 200 if cosine == 0 else near.sum() > 1000


def test_overlooked_is_how_often_a_sketch_leans_too_little() -> None:
    one, other = pairs(0.5, count=4000, d=2000)
    lean = np.abs(differing(one, other) - BITS // 2)
    for least in (150, 170, 190):
        assert np.mean(lean < least) == pytest.approx(overlooked(0.5, least), abs=0.03)
        assert overlooked(-0.5, least) == overlooked(0.5, least)


def test_the_least_lean_overlooks_no_more_than_it_may() -> None:
    least = least_lean(0.5, 1e-3)
    assert overlooked(0.5, least) <= 1e-3 < overlooked(0.5, least + 1)
    assert overlooked(0.6, least) < 1e-8
    # Of random directions, whose leans have this standard deviation, none in a million comes so far.
    assert least > 7 * np.sqrt(BITS / 4)


@pytest.mark.parametrize("d", [2, 3, 64])
def test_the_chance_of_a_cosine_is_exact_for_random_directions(d: int) -> None:
    random = unit(np.random.default_rng(d).standard_normal((20_000, d)))
    p_values = cosine_maximum_bound(np.abs(random[:, 0]), count=1, d=d)
    assert kstest(p_values, "uniform").pvalue > 0.01
