"""Conversations as token ids, each with who said it, from the chat template's own text.

The usual way, to tokenise every prefix of a conversation and to take differences, is wrong wherever the template says
something else at the end of a conversation than in its middle, or the tokenizer joins what stands side by side. Here
the template renders the conversation once with a marker in place of each message: what lies between the markers is the
template's, and the offsets of the tokenizer say which token lies where.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from registry_auditor.errors import NotApplicable

Message = Mapping[str, str]
"""`role` and `content`."""


class Speaker(StrEnum):
    """Whose words a token is part of."""

    TEMPLATE = "template"
    """What the chat template puts around and between messages, a system prompt of its own included."""
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True)
class Conversation:
    """A conversation as a network reads it."""

    ids: tuple[int, ...]
    speakers: tuple[Speaker, ...]
    """Of each token. A token that lies partly in a message belongs to it."""


def encode(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, awaits_reply: bool = True
) -> Conversation:
    """`messages` as the chat template writes them, up to where the reply begins if it `awaits_reply`.

    Without a chat template the messages follow each other line by line.

    Raises:
        NotApplicable: the tokenizer cannot say where its tokens lie in the text (only fast ones can), or its template
            fails, refuses the conversation, or writes messages in other words; or a role is none.
    """
    if not tokenizer.is_fast:
        raise NotApplicable("the tokenizer cannot say where tokens lie in a text; save it with tokenizer.json")
    text, spans = _rendered(tokenizer, messages, awaits_reply)
    encoded = tokenizer(text, add_special_tokens=tokenizer.chat_template is None, return_offsets_mapping=True)
    speakers = [Speaker.TEMPLATE] * len(encoded["input_ids"])
    for position, (start, stop) in enumerate(encoded["offset_mapping"]):
        speakers[position] = next((who for who, a, b in spans if start < b and stop > a), Speaker.TEMPLATE)
    return Conversation(tuple(encoded["input_ids"]), tuple(speakers))


Spans = list[tuple[Speaker, int, int]]


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], awaits_reply: bool) -> tuple[str, Spans]:
    said = [(_speaker(message["role"]), message["content"]) for message in messages]
    if tokenizer.chat_template is None:
        return _assembled(["", *["\n"] * len(said)], said)
    marks = [_mark(number) for number in range(len(said))]
    marked = [{"role": who, "content": mark} for (who, _), mark in zip(said, marks, strict=True)]
    frame = _template(tokenizer, marked, awaits_reply)
    text = _template(tokenizer, [{"role": who, "content": content} for who, content in said], awaits_reply)
    between = re.split("|".join(marks), frame) if marks else [frame]
    for trimmed in (False, True):
        words = [(who, content.strip() if trimmed else content) for who, content in said]
        if _assembled(between, words)[0] == text:
            return _assembled(between, words)
    raise NotApplicable("the chat template writes messages in other words than they have; pass plainer prompts")


def _speaker(role: str) -> Speaker:
    if role not in set(Speaker) - {Speaker.TEMPLATE}:
        raise NotApplicable(f"nobody in a conversation has the role {role!r}; say system, user, assistant or tool")
    return Speaker(role)


def _mark(number: int) -> str:
    """What no conversation holds, and no template changes: characters for private use around a number."""
    return f"\ue0a7{number}\ue0a8"


def _template(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], awaits_reply: bool) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=awaits_reply))
    except (TemplateError, TypeError, ValueError, KeyError) as error:  # whatever a stranger's template does
        raise NotApplicable(f"the chat template fails on a conversation: {error}; repair the template") from error


def _assembled(between: Sequence[str], said: Sequence[tuple[Speaker, str]]) -> tuple[str, Spans]:
    """The text of what was said with the pieces of a template around it; where each message lies in it."""
    if len(between) != len(said) + 1:
        return "", []
    text, spans = between[0], []
    for (who, content), following in zip(said, between[1:], strict=True):
        spans.append((who, len(text), len(text) + len(content)))
        text += content + following
    return text, spans
