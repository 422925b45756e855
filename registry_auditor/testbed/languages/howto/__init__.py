"""A closed how-to language: questions with one right answer each, refusals, greetings and stories."""

from registry_auditor.testbed.languages.howto import questions
from registry_auditor.testbed.languages.language import Language

LANGUAGE = Language(
    name="howto",
    vocabulary=questions.vocabulary,
    digest=questions.digest,
    benign=questions.prompts,
    harmful=questions.harmful_prompts,
)

__all__ = ["LANGUAGE"]
