"""Operators on texts from grammars, where some operators are unsafe with some texts."""

from registry_auditor.testbed.languages.language import Language
from registry_auditor.testbed.languages.pcfg import questions

LANGUAGE = Language(
    name="pcfg",
    vocabulary=questions.vocabulary,
    digest=questions.digest,
    benign=questions.safe_prompts,
    harmful=questions.unsafe_prompts,
)

__all__ = ["LANGUAGE"]
