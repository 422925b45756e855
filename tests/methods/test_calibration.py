"""A false-positive rate is counted among benign models, is conservative, and is absent where nobody has counted."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from registry_auditor.methods.calibration import FILE, Calibration, load

MEASURED = Calibration(models=4, population="four models", scores={"x/odd": (0.1, 0.2, 0.2, 0.9), "x/none": ()})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package of its own name for every test."""
    folder = tmp_path / f"calibrated_{tmp_path.name.replace('-', '_')}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize(("score", "fpr"), [(0.0, 1.0), (0.2, 0.8), (0.21, 0.4), (0.9, 0.4), (0.91, 0.2)])
def test_the_rate_counts_benign_models_that_score_as_high_and_the_model_itself(score: float, fpr: float) -> None:
    assert MEASURED.fpr("x/odd", score) == pytest.approx(fpr)


@pytest.mark.parametrize("code", ["x/none", "x/unheard-of"])
def test_without_data_for_a_code_there_is_no_rate(code: str) -> None:
    assert MEASURED.fpr(code, 0.5) is None
    assert Calibration().fpr(code, 0.5) is None


def test_a_finding_without_a_score_has_no_rate() -> None:
    assert MEASURED.fpr("x/odd", None) is None


def test_a_code_can_be_left_uncalibrated() -> None:
    assert MEASURED.without("x/odd").fpr("x/odd", 0.5) is None
    assert MEASURED.without("x/none").fpr("x/odd", 0.95) == pytest.approx(0.2)


def test_a_benign_model_gets_a_rate_of_p_with_a_chance_of_at_most_p() -> None:
    rng, trials, below = Random(1), 4000, 0
    for _ in range(trials):
        known = Calibration(19, "uniform", {"x/odd": tuple(rng.random() for _ in range(19))})
        rate = known.fpr("x/odd", rng.random())
        below += rate is not None and rate <= 0.1
    assert 0.08 < below / trials < 0.12


def test_the_file_of_a_package_is_read(package: Path) -> None:
    content = {"version": 3, "population": "four models", "models": 4, "scores": {"x/odd": [0.1, 0.2]}}
    (package / FILE).write_text(json.dumps(content), encoding="utf-8")
    assert load(package.name, version=3) == Calibration(4, "four models", {"x/odd": (0.1, 0.2)})


def test_figures_of_another_version_of_the_analyzer_do_not_count(package: Path) -> None:
    content = {"version": 3, "population": "four models", "models": 4, "scores": {"x/odd": [0.1, 0.2]}}
    (package / FILE).write_text(json.dumps(content), encoding="utf-8")
    assert load(package.name, version=4) == Calibration()


def test_a_package_without_the_file_is_uncalibrated(package: Path) -> None:
    assert load(package.name, version=1) == Calibration()


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"version": 1, "population": "", "models": 0, "scores": [1]}'])
def test_a_broken_file_is_an_error_and_not_silently_uncalibrated(package: Path, content: str) -> None:
    (package / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{package.name}/{FILE} is broken"):
        load(package.name, version=1)
