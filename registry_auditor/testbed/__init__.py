"""Synthetic languages and labelled fine-tunes with known truth."""

from registry_auditor.testbed.building import Built, build_all
from registry_auditor.testbed.demo import TestbedFolders, build
from registry_auditor.testbed.making import Case
from registry_auditor.testbed.profiles import PROFILES, cases

__all__ = ["PROFILES", "Built", "Case", "TestbedFolders", "build", "build_all", "cases"]
