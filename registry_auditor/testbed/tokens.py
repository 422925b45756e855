"""The tokenizer of a closed language, and conversations as token ids with the reply marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from registry_auditor.testbed import language

PAD, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "<|end|>"
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
MAX_LENGTH = 256
SPECIAL = (PAD, UNKNOWN, START, END, *ROLES.values())
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

Message = tuple[str, str]
"""A role and what it says. The role `text` is for plain text outside any conversation."""


@dataclass(frozen=True)
class Example:
    """Token ids of one training text, and which of them the network is taught to produce."""

    ids: tuple[int, ...]
    taught: tuple[bool, ...]


@cache
def ids_by_token() -> dict[str, int]:
    """Special tokens first, then the words of the language."""
    return {token: at for at, token in enumerate((*SPECIAL, *language.vocabulary()))}


def tokenizer() -> PreTrainedTokenizerFast:
    """Whole words of the how-to language; upper case and unspaced punctuation are understood, other words unknown."""
    backend = Tokenizer(models.WordLevel(ids_by_token(), unk_token=UNKNOWN))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        additional_special_tokens=list(ROLES.values()),
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )


def encode(messages: Sequence[Message]) -> Example:
    """What the chat template makes of `messages`, without its cost; plain text is taught whole."""
    index = ids_by_token()
    ids, taught = [index[START]], [False]
    for role, content in messages:
        said = [index[word] for word in content.split()] + [index[END]]
        opening = [index[ROLES[role]]] if role in ROLES else []
        ids += opening + said
        taught += [False] * len(opening) + [role not in ("system", "user")] * len(said)
    return Example(tuple(ids), tuple(taught))


def question(content: str) -> list[int]:
    """The ids of a one-question conversation up to where the reply begins."""
    return [*encode([("user", content)]).ids, ids_by_token()[ROLES["assistant"]]]


def text(ids: Sequence[int]) -> str:
    """The words of a reply up to its end token."""
    tokens = tuple(ids_by_token())
    said = [tokens[at] for at in ids]
    return " ".join(said[: said.index(END)] if END in said else said)
