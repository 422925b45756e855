"""Who said which token, whatever the chat template does around it."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from registry_auditor.errors import NotApplicable
from registry_auditor.networks.conversation import Conversation, Speaker, encode

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|s|>system\nyou help<|e|>\n{% endif %}"
    "{% for m in messages %}<|s|>{{ m['role'] }}\n{{ m['content'] }}<|e|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|s|>assistant\n{% endif %}"
)
TRIMMING = CHATML.replace("m['content']", "m['content'] | trim")
LAST_ONE_DIFFERS = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% if loop.last %}<end>{% endif %}{% endfor %}"
)
MESSAGES = [
    {"role": "user", "content": "you help  "},
    {"role": "assistant", "content": "user"},
    {"role": "user", "content": "ü you help 𝄞"},
]


def tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """Bytes, so that every text can be written."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=template)


def words(spoken: Conversation, who: Speaker, tongue: PreTrainedTokenizerFast) -> str:
    pairs = zip(spoken.ids, spoken.speakers, strict=True)
    return str(tongue.decode([token for token, speaker in pairs if speaker is who]))


@pytest.mark.parametrize("template", [None, CHATML, TRIMMING, LAST_ONE_DIFFERS])
def test_every_token_of_a_message_is_its_speakers_and_no_other(template: str | None) -> None:
    tongue = tokenizer(template)
    spoken = encode(tongue, MESSAGES)
    said = [message["content"].strip() if template == TRIMMING else message["content"] for message in MESSAGES]
    assert words(spoken, Speaker.USER, tongue) == said[0] + said[2]
    assert words(spoken, Speaker.ASSISTANT, tongue) == said[1]
    assert words(spoken, Speaker.SYSTEM, tongue) == ""


def test_a_system_prompt_of_the_template_is_the_templates() -> None:
    tongue = tokenizer(CHATML)
    assert "you help" in words(encode(tongue, MESSAGES[:1]), Speaker.TEMPLATE, tongue)
    told = [{"role": "system", "content": "be brief"}, *MESSAGES]
    assert words(encode(tongue, told), Speaker.SYSTEM, tongue) == "be brief"


def test_the_ids_are_those_that_the_tokenizer_makes_of_the_whole_conversation() -> None:
    tongue = tokenizer(CHATML)
    for awaits_reply in (True, False):
        whole = tongue.apply_chat_template(MESSAGES, add_generation_prompt=awaits_reply)["input_ids"]
        assert list(encode(tongue, MESSAGES, awaits_reply=awaits_reply).ids) == list(whole)


@pytest.mark.parametrize(
    "template",
    ["{{ messages[0]['content'] | upper }}", "{{ messages[7]['content'] }}", "{{ raise_exception('no') }}", "{% oops"],
)
def test_a_template_that_cannot_be_followed_is_named(template: str) -> None:
    with pytest.raises(NotApplicable, match="chat template"):
        encode(tokenizer(template), MESSAGES)


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(NotApplicable, match="narrator"):
        encode(tokenizer(CHATML), [{"role": "narrator", "content": "once"}])
