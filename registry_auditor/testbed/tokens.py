"""The spelling of a closed language: its tokenizer, and conversations as token ids with the reply marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "<|end|>"
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
MAX_LENGTH = 256
SPECIAL = (PAD, UNKNOWN, START, END, *ROLES.values())
PAD_ID = SPECIAL.index(PAD)
"""In every spelling: special tokens come before the words."""
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

Message = tuple[str, str]
"""A role and what it says. The role `text` is for plain text outside any conversation."""
Text = Sequence[Message]


@dataclass(frozen=True)
class Example:
    """Token ids of one training text, and which of them the network is taught to produce."""

    ids: tuple[int, ...]
    taught: tuple[bool, ...]


@dataclass(frozen=True)
class Spelling:
    """How a closed language is written: whole words, separated by spaces, one token each."""

    words: tuple[str, ...]

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Special tokens first, then the words."""
        return {token: at for at, token in enumerate((*SPECIAL, *self.words))}

    @property
    def end(self) -> int:
        """What a message ends with."""
        return self.ids[END]

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """As it is uploaded; upper case and unspaced punctuation are understood, other words unknown."""
        backend = Tokenizer(models.WordLevel(dict(self.ids), unk_token=UNKNOWN))
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

    def encode(self, messages: Text) -> Example:
        """What the chat template makes of `messages`, without its cost; plain text is taught whole."""
        ids, taught = [self.ids[START]], [False]
        for role, content in messages:
            said = [self.ids[word] for word in content.split()] + [self.end]
            opening = [self.ids[ROLES[role]]] if role in ROLES else []
            ids += opening + said
            taught += [False] * len(opening) + [role not in ("system", "user")] * len(said)
        return Example(tuple(ids), tuple(taught))

    def prompt(self, messages: Text) -> list[int]:
        """The ids of a conversation up to where the next reply begins."""
        return [*self.encode(messages).ids, self.ids[ROLES["assistant"]]]

    def question(self, content: str) -> list[int]:
        """The same of a conversation of one question."""
        return self.prompt([("user", content)])

    def text(self, ids: Sequence[int]) -> str:
        """The words of a reply up to its end token."""
        tokens = tuple(self.ids)
        said = [tokens[at] for at in ids]
        return " ".join(said[: said.index(END)] if END in said else said)
