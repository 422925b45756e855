"""What is left of a direction in the matrices that write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from registry_auditor.domain import Side
from registry_auditor.methods.abliteration import removed, survival
from registry_auditor.methods.directions import Decomposer
from registry_auditor.methods.spectra import shared_direction
from registry_auditor.weights import Delta, open_snapshot, pair
from tests.planted import LAYERS, WRITERS, D, fine_tune, llama, save, unit, weight

DIRECTION = unit(D, 5)


def _along(factor: float) -> Callable[[dict[str, Tensor]], None]:
    """Multiply what every writer writes along DIRECTION."""

    def change(tensors: dict[str, Tensor]) -> None:
        for layer in range(LAYERS):
            for module in WRITERS:
                matrix = tensors[weight(layer, module)]
                matrix.add_((factor - 1) * DIRECTION[:, None] * (DIRECTION @ matrix))
        # The embedding writes too, and is stored the other way round.
        table = tensors["model.embed_tokens.weight"]
        table.add_((factor - 1) * (table @ DIRECTION)[:, None] * DIRECTION)

    return change


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(llama(3), tmp_path_factory.mktemp("nets") / "base")


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0, 1.5])
def test_survival_is_the_factor_by_which_the_output_along_a_direction_was_multiplied(
    factor: float, base: Path, tmp_path: Path
) -> None:
    tuned = fine_tune(base, tmp_path / "tuned", _along(factor))
    with open_snapshot(tuned) as opened, open_snapshot(base) as opened_base:
        for delta in pair(opened, opened_base).deltas:
            if delta.site.side is Side.WRITES and min(delta.shape) > 1:
                assert survival([delta], DIRECTION) == pytest.approx(factor, abs=1e-4), delta.site


def test_a_direction_that_was_taken_out_is_removed_and_one_that_was_learnt_is_not(base: Path, tmp_path: Path) -> None:
    for name, factor, expected in (("ablated", 0.0, 1.0), ("half", 0.5, 0.5), ("doubled", 2.0, 0.0)):
        tuned = fine_tune(base, tmp_path / name, _along(factor))
        with open_snapshot(tuned) as opened, open_snapshot(base) as opened_base:
            deltas = pair(opened, opened_base).deltas
            found = shared_direction([Decomposer().measure(delta) for delta in deltas], cosine=0.9)
            assert removed(found, deltas) == pytest.approx(expected, abs=1e-3), name


def test_nothing_is_removed_where_nothing_is_shared_or_the_base_writes_nothing() -> None:
    nothing: list[Delta] = []
    assert removed(None, nothing) == 0.0
    assert survival(nothing, torch.ones(3)) is None
