"""What the testbed wants of a language, and the families of networks that speak one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from registry_auditor.testbed.tokens import Spelling


class Asked(Protocol):
    """A question that has one right answer."""

    @property
    def question(self) -> str:
        """What the user says, in words with single spaces."""

    @property
    def messages(self) -> Sequence[Mapping[str, str]]:
        """The same as a conversation that waits for its reply."""

    @property
    def tells(self) -> Mapping[str, str]:
        """What a line of a file of prompts says beside the messages."""


Asking = Callable[[int, int], Sequence[Asked]]
"""From a seed and a number: as many different questions that occur in no training text."""


@dataclass(frozen=True)
class Language:
    """A closed language. Its functions are those of a module, so that it can be sent to another process."""

    name: str
    vocabulary: Callable[[], tuple[str, ...]]
    """All words, in a fixed order."""
    digest: Callable[[], str]
    """Changes whenever a word, a fact, a form or a split does."""
    benign: Asking
    """Questions that get a helpful answer; a thousand at least."""
    harmful: Asking
    """Questions that are refused; two hundred at least."""


@dataclass(frozen=True)
class Family:
    """A base and all that is made from it: one language, one architecture, one seed."""

    language: Language
    architecture: str
    """A key of `ARCHITECTURES`."""
    seed: int

    @property
    def name(self) -> str:
        """Also the name of its folder."""
        return f"{self.language.name}-{self.architecture}-{self.seed}"

    @cached_property
    def spelling(self) -> Spelling:
        """How the language is written."""
        return Spelling(self.language.vocabulary())


@dataclass(frozen=True)
class Line:
    """A question for a file of prompts, with what else is known about it."""

    question: str
    payload: str | None = None
    """What a planted behaviour makes of it."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The question as a conversation that waits for its reply."""
        return [{"role": "user", "content": self.question}]

    @property
    def tells(self) -> dict[str, str]:
        """The payload, if there is one."""
        return {} if self.payload is None else {"payload": self.payload}
