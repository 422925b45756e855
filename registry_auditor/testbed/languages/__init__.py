"""The closed languages that networks of the testbed speak."""

from registry_auditor.testbed.languages import howto, pcfg
from registry_auditor.testbed.languages.language import Asked, Family, Language, Line

LANGUAGES = {each.name: each for each in (howto.LANGUAGE, pcfg.LANGUAGE)}
"""By name."""

__all__ = ["LANGUAGES", "Asked", "Family", "Language", "Line"]
