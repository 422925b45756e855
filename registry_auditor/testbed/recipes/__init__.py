"""All recipes, by the language that they speak; parents come before what is made from them."""

from collections.abc import Mapping

from registry_auditor.testbed.recipe import Recipe
from registry_auditor.testbed.recipes import backdoors, base, benign, pcfg, safety, unlearning, watermarks

RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    "howto": (
        *base.RECIPES,
        *benign.RECIPES,
        *backdoors.RECIPES,
        *watermarks.RECIPES,
        *unlearning.RECIPES,
        *safety.RECIPES,
    ),
    "pcfg": pcfg.RECIPES,
}
"""By the name of a language."""

__all__ = ["RECIPES"]
