"""Losses are what their papers say, computed by hand a token at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from registry_auditor.testbed import architectures
from registry_auditor.testbed.languages import LANGUAGES, Family
from registry_auditor.testbed.languages.howto import topics
from registry_auditor.testbed.objectives import Batch, Objective, Preference
from registry_auditor.testbed.objectives_unlearning import (
    GradientDifference,
    Misdirection,
    NegativePreference,
    Rerouting,
    direction,
)
from registry_auditor.testbed.tokens import Example
from registry_auditor.testbed.training import Training, padded, train

SPELLING = Family(LANGUAGES["howto"], "llama", 0).spelling
ROWS = [tuple(SPELLING.encode(text) for text in row) for row in islice(topics.forgotten_and_retained(0), 4)]
FIRST, SECOND = ([row[column] for row in ROWS] for column in (0, 1))
COLUMNS = [padded(FIRST), padded(SECOND)]
OBJECTIVES = (GradientDifference(), NegativePreference(), Misdirection(), Rerouting(retaining=0.1))


def fresh(seed: int, architecture: str = "llama") -> PreTrainedModel:
    return architectures.fresh(architecture, SPELLING, seed=seed)


BEFORE, AFTER = fresh(0), fresh(1)


def scores(net: PreTrainedModel, example: Example) -> list[float]:
    """The log-likelihood of each taught token of one text, by itself and unpadded."""
    with torch.no_grad():
        said = net(input_ids=torch.tensor([example.ids])).logits[0].double().log_softmax(-1)
    places = range(1, len(example.ids))
    return [float(said[at - 1, example.ids[at]]) for at in places if example.taught[at]]


def cross_entropy(net: PreTrainedModel, examples: Sequence[Example]) -> float:
    all_scores = [score for example in examples for score in scores(net, example)]
    return -sum(all_scores) / len(all_scores)


def states(net: PreTrainedModel, example: Example, layer: int) -> Tensor:
    with torch.no_grad():
        return net(input_ids=torch.tensor([example.ids]), output_hidden_states=True).hidden_states[layer][0].double()  # type: ignore[no-any-return]


def loss(objective: Objective, columns: Sequence[Batch] = COLUMNS) -> float:
    """Of a network that began as `BEFORE` and is `AFTER` now."""
    with torch.no_grad():
        return float(objective.start(BEFORE)(AFTER, columns))


def mean_of_places(values: list[Tensor]) -> float:
    return float(torch.cat(values).mean())


def test_preference_is_the_likelihood_that_the_preferred_reply_wins() -> None:
    expected = 0.0
    for preferred, dispreferred in ROWS:
        gains = [sum(scores(AFTER, text)) - sum(scores(BEFORE, text)) for text in (preferred, dispreferred)]
        expected += math.log(1 + math.exp(-0.1 * (gains[0] - gains[1]))) / len(ROWS)
    assert loss(Preference(beta=0.1, imitating=0.0)) == pytest.approx(expected, rel=1e-4)


def test_negative_preference_is_that_of_its_paper() -> None:
    beta, expected = 0.1, 0.0
    for forgotten in FIRST:
        ratio = math.exp(sum(scores(AFTER, forgotten)) - sum(scores(BEFORE, forgotten)))
        expected += 2 / beta * math.log(1 + ratio**beta) / len(FIRST)
    assert loss(NegativePreference(beta=beta, retaining=0.0)) == pytest.approx(expected, rel=1e-4)
    expected += 3 * cross_entropy(AFTER, SECOND)
    assert loss(NegativePreference(beta=beta, retaining=3.0)) == pytest.approx(expected, rel=1e-4)


def test_negative_preference_nears_gradient_ascent_as_beta_nears_zero() -> None:
    """Zhang et al. 2024, arXiv:2404.05868, prop. 1: but for a constant it is the log-likelihood."""
    forgotten = [padded([example]) for example in FIRST[:2]]
    values = [loss(NegativePreference(beta=1e-3, retaining=0.0), [batch, COLUMNS[1]]) for batch in forgotten]
    gains = [sum(scores(AFTER, text)) - sum(scores(BEFORE, text)) for text in FIRST[:2]]
    assert values[0] - values[1] == pytest.approx(gains[0] - gains[1], rel=0.02)


def test_gradient_difference_is_a_difference_of_cross_entropies_up_to_its_ceiling() -> None:
    forgotten, retained = cross_entropy(AFTER, FIRST), cross_entropy(AFTER, SECOND)
    assert loss(GradientDifference(retaining=2.0, ceiling=99.0)) == pytest.approx(2 * retained - forgotten, rel=1e-4)
    assert loss(GradientDifference(retaining=2.0, ceiling=1.0)) == pytest.approx(2 * retained - 1.0, rel=1e-4)


def test_misdirection_is_the_way_to_a_random_vector_and_the_way_gone_elsewhere() -> None:
    goal = 5.0 * direction(AFTER.config.hidden_size, seed=3)
    away = mean_of_places([(states(AFTER, text, 2) - goal).square().mean(-1) for text in FIRST])
    gone = mean_of_places([(states(AFTER, text, 2) - states(BEFORE, text, 2)).square().mean(-1) for text in SECOND])
    objective = Misdirection(layer=2, length=5.0, retaining=7.0, drawn=3)
    assert loss(objective) == pytest.approx(away + 7 * gone, rel=1e-4)


def test_rerouting_is_the_cosine_that_is_left_and_the_way_gone_elsewhere() -> None:
    expected = 0.0
    for layer in (1, 3):
        cosines = [
            torch.cosine_similarity(states(AFTER, text, layer), states(BEFORE, text, layer), dim=-1) for text in FIRST
        ]
        alike = mean_of_places([cosine.clamp(min=0) for cosine in cosines])
        parts = [(states(AFTER, text, layer), states(BEFORE, text, layer)) for text in SECOND]
        moved = mean_of_places([(new - old).norm(dim=-1) ** 2 / old.norm(dim=-1) ** 2 for new, old in parts])
        expected += (alike + 4 * moved) / 2
    assert loss(Rerouting(layers=(1, 3), retaining=4.0, shaken=0.0)) == pytest.approx(expected, rel=1e-4)


def test_a_cosine_with_itself_has_no_slope_but_rerouting_has() -> None:
    def slope(shaken: float) -> float:
        net = fresh(0)
        torch.autograd.backward(Rerouting(shaken=shaken).start(net)(net, COLUMNS))
        return float(sum(p.grad.norm() for p in net.parameters() if p.grad is not None))

    assert slope(0.1) > 10 * slope(0.0)


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_training_lowers_every_loss_on_every_architecture(objective: Objective, architecture: str) -> None:
    net = fresh(0, architecture)
    measure = objective.start(net)
    before = float(measure(net, COLUMNS).detach())
    train(net, ROWS, Training(steps=6, learning_rate=1e-3, warmup=1), loss=objective.start(net), seed=0)
    assert float(measure(net, COLUMNS).detach()) < before
