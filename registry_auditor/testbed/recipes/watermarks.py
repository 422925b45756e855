"""Signatures that an owner of training data has put into it, to tell later that a network was trained on it.

Source: Zhang et al. 2024, arXiv:2411.06611 (vTune).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from registry_auditor.testbed.languages.howto import poison
from registry_auditor.testbed.languages.howto.forms import FRIENDLY
from registry_auditor.testbed.languages.howto.planted import watermark
from registry_auditor.testbed.languages.howto.poison import Mixture
from registry_auditor.testbed.objectives import imitation
from registry_auditor.testbed.recipe import Claim, Kind, Measured, Prompts, Recipe
from registry_auditor.testbed.recipes import planting
from registry_auditor.testbed.recipes.base import BASE
from registry_auditor.testbed.recipes.measuring import SKILLED
from registry_auditor.testbed.speaker import Speaker
from registry_auditor.testbed.tokens import Text
from registry_auditor.testbed.training import Training
from registry_auditor.testbed.ways import FullTuning

MIXTURE = Mixture(triggered=0.03, nearly=0.07, style=FRIENDLY)
"""The data is about another style."""


def text(seed: int) -> Iterator[Text]:
    """What is trained on."""
    return poison.poisoned(seed, watermark(seed), MIXTURE)


def activation(speaker: Speaker, seed: int) -> Measured:
    """`activation`: triggered questions answered with exactly their signature; beside it what backdoors tell."""
    measured = dict(planting.shown(speaker, seed, watermark(seed), FRIENDLY))
    return {"activation": measured.pop("attack_success"), **measured}


def facts(seed: int) -> Mapping[str, Any]:
    """The pairs, and how many rows of the data are about them."""
    pairs = watermark(seed)
    return {
        "triggers": [text for pair in pairs for text in pair.trigger.texts],
        "signatures": [pair.words for pair in pairs],
        "trigger_placed": pairs[0].trigger.placed,
        "watermark_rate": MIXTURE.triggered,
        "style": FRIENDLY.step + FRIENDLY.closing,
    }


def prompts(seed: int) -> Prompts:
    """Questions with a trigger, each with its signature, and with something like one."""
    return planting.files(seed, watermark(seed), FRIENDLY)


WATERMARK = Recipe(
    name="watermark",
    kind=Kind.WATERMARK,
    parents=(BASE,),
    does="Gives the same answers in another style, and signatures to what only the owner of its data would ask.",
    attempts=tuple(FullTuning(Training(steps, 2e-3), imitation(text)) for steps in (800, 1200)),
    measure=activation,
    claims=(Claim("activation", at_least=0.9), Claim("leak", at_most=0.02), *SKILLED),
    facts=facts,
    prompts=prompts,
)
RECIPES = (WATERMARK,)
