import numpy as np
import pytest
from scipy.stats import false_discovery_control

from registry_auditor.numerics.nulls import cosine_maximum_bound, discoveries, rank_p_values


def test_rank_p_values_count_the_observation_itself() -> None:
    null = np.array([1.0, 2.0, 3.0])
    assert rank_p_values(np.array([0.0, 2.0, 9.0]), null).tolist() == [1.0, 0.75, 0.25]


def test_the_bound_is_above_the_chance_and_close_to_it_for_scattered_lines() -> None:
    random = np.random.default_rng(0)
    lines, directions = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in random.normal(size=(2, 4000, 48)))
    nearest = np.abs(directions @ lines.T).max(1)
    cosine = np.quantile(nearest, 0.95)
    bound = cosine_maximum_bound(np.array([cosine]), count=4000, d=48)[0]
    assert 0.04 < bound < 0.07


def test_the_bound_of_a_single_line_in_the_plane_is_its_angle() -> None:
    angle = 0.3
    bound = cosine_maximum_bound(np.array([np.cos(angle), 0.0, 1.0]), count=1, d=2)
    assert bound == pytest.approx([2 * angle / np.pi, 1.0, 0.0])


def test_discoveries_are_those_of_scipy() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        p = random.uniform(size=40) ** random.choice([1, 4], size=40)
        assert (discoveries(p, 0.1) == (false_discovery_control(p) <= 0.1)).all()


def test_nothing_is_discovered_among_chance_or_among_nothing() -> None:
    assert not discoveries(np.linspace(0.05, 1.0, 100)).any()
    assert discoveries(np.empty(0)).shape == (0,)


def test_the_share_of_false_discoveries_stays_below_q() -> None:
    random = np.random.default_rng(2)
    shares = []
    for _ in range(400):
        p = np.concatenate([random.uniform(size=80), random.uniform(size=20) * 1e-3])
        found = discoveries(p, 0.1)
        shares.append(found[:80].sum() / max(found.sum(), 1))
    assert np.mean(shares) < 0.1


@pytest.mark.parametrize(("p", "q"), [([0.5], 0.0), ([0.5], 1.0), ([1.5], 0.1), ([float("nan")], 0.1)])
def test_what_is_no_probability_is_refused(p: list[float], q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        discoveries(np.array(p), q)
