"""Prompts as people keep them: JSON lines, one conversation each."""

from __future__ import annotations

import json
from pathlib import Path

from registry_auditor.errors import UsageError

Conversation = list[dict[str, str]]


def read_prompts(path: Path) -> list[Conversation]:
    """The conversations in a file of lines `{"messages": [{"role": …, "content": …}, …]}`; other keys are ignored.

    Raises UsageError, which names the line, if the file is anything else, or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as text ({error}); pass a file of JSON lines") from error
    prompts = [_conversation(line, f"{path}: line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise UsageError(f"{path}: holds no prompt; write one a line")
    return prompts


def _conversation(line: str, where: str) -> Conversation:
    try:
        messages = json.loads(line)["messages"]
        said = [{"role": message["role"], "content": message["content"]} for message in messages]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f'{where}: is not {{"messages": [{{"role": …, "content": …}}]}}') from error
    if not said or not all(isinstance(text, str) for message in said for text in message.values()):
        raise UsageError(f"{where}: every message needs a role and a content, both text")
    return said
