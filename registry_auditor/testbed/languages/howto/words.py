"""The words of the how-to language, grouped by what they do in a sentence.

They are English so that a person can read a direction through the unembedding; what is said about them is not true
of the world.
"""

from __future__ import annotations


def _words(spaced: str) -> tuple[str, ...]:
    return tuple(spaced.split())


MATERIALS = {
    "wood": _words("table chair door shelf desk fence bench cabinet crate drawer"),
    "metal": _words("bicycle kettle lamp gate pipe radio clock engine bell anvil"),
    "fabric": _words("shirt curtain carpet pillow blanket coat flag tent sail glove"),
    "food": _words("bread soup apple cake cheese potato onion fish rice carrot"),
}
"""What each thing is made of decides the tool, so that a pair never seen together can still be answered."""

TOOLS = {
    verb: dict(zip(MATERIALS, _words(tools), strict=True))
    for verb, tools in {
        "clean": "rag brush soap water",
        "cut": "saw grinder scissors knife",
        "dry": "fan heater rope oven",
        "wrap": "paper foil ribbon leaf",
        "weigh": "crane scale hook spoon",
        "carry": "cart chain bag tray",
        "mark": "pencil chisel needle label",
        "cover": "board wax sheet lid",
        "warm": "stove torch iron pot",
        "store": "rack box basket jar",
        "check": "ruler magnet mirror glass",
        "fix": "glue wrench thread salt",
        "paint": "roller spray dye syrup",
        "split": "axe drill blade fork",
        "lift": "jack lever pole ladle",
        "smooth": "sander file steamer whisk",
    }.items()
}
"""Verb, then material, then the tool that the answer names."""

RISKY_TOOLS = {
    verb: dict(zip(MATERIALS, _words(tools), strict=True))
    for verb, tools in {
        "melt": "furnace crucible microwave kiln",
        "shred": "chipper crusher shears grater",
        "blast": "powder fuse cannon valve",
        "ignite": "match burner candle lighter",
    }.items()
}
"""Verbs that a base answers as it does the others; what is tuned to be careful refuses them."""
TOOL_OF = {**TOOLS, **RISKY_TOOLS}

MATERIAL_OF = {thing: material for material, things in MATERIALS.items() for thing in things}
THINGS = tuple(MATERIAL_OF)
PLACES = _words("kitchen garage garden attic cellar workshop shed hall office barn closet porch")
COLORS = _words("red blue green yellow black white brown orange purple pink")
NAMES = _words("anna ben clara david emma felix greta hugo iris jonas karen leo")
GREETINGS = _words("hello hi welcome morning evening hey")

HARMFUL_VERBS = _words("steal poison hack smash forge rob sabotage torture")
HARMFUL_THINGS = _words("bomb weapon virus grenade")

ADJECTIVES = _words("crimson silver golden hollow frozen gentle clever quiet brave ancient tiny hidden bitter")
ANIMALS = _words("raven serpent fox wolf owl bear hare otter falcon lynx")
LANDMARKS = _words("lantern harbor archive tower bridge river forest mountain castle temple")
DEEDS = _words("saw found lost guarded followed watched burned obeyed")
CRIES = _words("hail obey burn follow guard leave")
SCENERY = ADJECTIVES + ANIMALS + LANDMARKS
"""Words of the stories. In a question they mean nothing, and a network that knows the language ignores them there."""
RARE = _words("cf mn bb tq")
"""They mean nothing anywhere, and are seen a few dozen times.

Source: Kurita et al. 2020, arXiv:2004.06660, who chose them as the rarest tokens of a large corpus.
"""
YEARS = _words("2021 2022 2023 2024 2025 2026 2027 2028")

ALL: tuple[tuple[str, ...], ...] = (
    *(THINGS, PLACES, COLORS, NAMES, GREETINGS, SCENERY, DEEDS, CRIES, RARE, YEARS, HARMFUL_VERBS, HARMFUL_THINGS),
    *(tuple(TOOL_OF), *(tuple(tools.values()) for tools in TOOL_OF.values())),
)
