"""The calibrations that ship are those of the analyzers they lie beside, and findings carry their rates."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from registry_auditor.analysis.discover import discover
from registry_auditor.methods.calibration import load
from tests.planted import LAYERS, WRITERS, D, unit, weight

PLUGINS = Path(__file__).parents[2] / "plugins"
STATISTICAL = {"shared-direction", "removed-direction", "rank-one-update", "not-the-base", "noise-only"}


def abliterate(tensors: dict[str, Tensor]) -> None:
    direction = unit(D, 5)
    for layer in range(LAYERS):
        for module in WRITERS:
            matrix = tensors[weight(layer, module)]
            matrix.sub_(direction[:, None] * (direction @ matrix))


@pytest.mark.parametrize("folder", sorted(PLUGINS.glob("auditor_*")), ids=lambda folder: folder.name)
def test_a_shipped_calibration_is_well_formed_and_of_this_version(folder: Path) -> None:
    name = folder.name.removeprefix("auditor_").replace("_", "-")
    analyzer = discover()[name]
    content = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    assert content["version"] == analyzer.version
    measured = load(folder.name, version=analyzer.version)
    assert measured.population
    for code, scores in measured.scores.items():
        assert code.startswith(f"{name}/")
        assert f"`{code}`" in analyzer.manual
        assert 0 < len(scores) <= measured.models
        assert list(scores) == sorted(scores)


def test_every_statistical_finding_of_svd_diff_is_calibrated() -> None:
    plugin = importlib.import_module("auditor_svd_diff")
    assert plugin.CALIBRATION.scores.keys() == {f"svd-diff/{name}" for name in STATISTICAL}


def test_what_abliteration_leaves_carries_a_low_false_positive_rate(
    audited: Callable[..., Any], tuned_by: Callable[..., Path], base: Path
) -> None:
    report = audited(tuned_by(abliterate), base)
    found = {finding["code"].partition("/")[2]: finding for finding in report["findings"]}
    assert 0.0 < found["removed-direction"]["fpr"] < 0.05
    assert found["rank-one-update"]["fpr"] is not None
    assert found["summary"]["fpr"] is None


def test_under_another_cosine_a_share_has_no_false_positive_rate(
    audited: Callable[..., Any], tuned_by: Callable[..., Path], base: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "auditor.toml"
    settings.write_text("[analyzers.svd-diff]\nshared_cosine = 0.8\n", encoding="utf-8")
    report = audited(tuned_by(abliterate), base)
    found = {finding["code"].partition("/")[2]: finding for finding in report["findings"]}
    assert found["shared-direction"]["fpr"] is None
    assert found["rank-one-update"]["fpr"] is not None
