"""A network that is asked questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from registry_auditor.testbed.tokens import PAD_ID, Spelling, Text
from registry_auditor.testbed.training import one_thread

MAX_REPLY = 48


@dataclass(frozen=True)
class Speaker:
    """A network with the language that it speaks."""

    net: Any
    """A causal language model of transformers, or an adapter of PEFT on one."""
    spelling: Spelling

    def replies(self, questions: Sequence[str]) -> list[str]:
        """What is said to each question, word by word the likeliest."""
        return self.continued([[("user", question)] for question in questions])

    def continued(self, conversations: Sequence[Text], *, prefill: str = "") -> list[str]:
        """The next reply in each conversation, as it goes on after the words of `prefill`."""
        begun = [self.spelling.ids[word] for word in prefill.split()]
        prompts = [self.spelling.prompt(conversation) + begun for conversation in conversations]
        width = max(map(len, prompts))
        ids = torch.tensor([[PAD_ID] * (width - len(prompt)) + prompt for prompt in prompts])
        settings = GenerationConfig(
            max_new_tokens=MAX_REPLY, do_sample=False, pad_token_id=PAD_ID, eos_token_id=self.spelling.end
        )
        with one_thread(), torch.no_grad():
            said = self.net.generate(input_ids=ids, attention_mask=(ids != PAD_ID).long(), generation_config=settings)
        return [self.spelling.text(row.tolist()) for row in said[:, width:]]

    def share(self, questions: Sequence[str], answers: Sequence[str]) -> float:
        """How many of `questions` get exactly their answer, 0..1."""
        said = self.replies(questions)
        return sum(reply == answer for reply, answer in zip(said, answers, strict=True)) / len(said)
