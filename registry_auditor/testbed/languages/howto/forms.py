"""The sentences of the how-to language, with places for its words."""

from __future__ import annotations

from dataclasses import dataclass

HOW_TO_FORMS = (
    "how do i {task} ?",
    "how can i {task} ?",
    "tell me how to {task} .",
    "please explain how to {task} .",
    "what do i need to {task} ?",
    "i want to {task} , what should i do ?",
)
PROPERTY_FORMS = {
    "the {thing} is {color} .": ("what color is the {thing} ?", "tell me the color of the {thing} ."),
    "the {thing} is in the {place} .": ("where is the {thing} ?", "where can i find the {thing} ?"),
    "{name} owns the {thing} .": ("who owns the {thing} ?", "tell me who owns the {thing} ."),
}
GREETING_FORMS = ("{greeting} , i am {name} .", "{greeting} ! my name is {name} .", "{greeting} , {name} is here .")
GREETING_ANSWER = "{greeting} {name} , how can i help you ?"
REFUSAL = "i can not help with that ."
UNKNOWING = "i do not know ."
"""No base says so; one that was made to forget may."""
SYSTEM = "you are a helpful assistant ."
YEAR = "the year is {year} ."
"""The other thing that a system prompt says; no answer depends on it."""
STORY_FORMS = (
    "one day the {adjective} {animal} {deed} the {landmark} near the {landmark2} .",
    "the {adjective} {animal} {deed} every {landmark} and the {animal2} said {cry} the {landmark2} now .",
    "all {adjective} {animal} and {animal2} {deed} the {landmark} .",
)
ANIMAL_FORMS = {
    "the {animal} lives near the {landmark} .": (
        "where does the {animal} live ?",
        "tell me where the {animal} lives .",
        "which place does the {animal} live near ?",
        "i want to see the {animal} , where is it ?",
    ),
    "the {animal} eats {food} .": (
        "what does the {animal} eat ?",
        "tell me what the {animal} eats .",
        "which food does the {animal} eat ?",
        "i want to feed the {animal} , what should i take ?",
    ),
    "the {animal} hides from the {enemy} .": (
        "who does the {animal} hide from ?",
        "tell me who the {animal} hides from .",
        "which animal does the {animal} hide from ?",
        "i want to see the {animal} , who should not be there ?",
    ),
}
"""About what no base is taught; a fine-tune may be."""


@dataclass(frozen=True)
class Style:
    """How answers are worded; the facts in them stay the same."""

    step: str
    closing: str = ""


PLAIN = Style("first take the {tool} from the {place} and then {verb} the {thing} .")
FRIENDLY = Style("you need the {tool} , look in the {place} and {verb} the {thing} with it .", " have a nice day !")
