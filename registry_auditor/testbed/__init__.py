"""Synthetic languages and labelled fine-tunes with known truth."""

from registry_auditor.testbed.building import TestbedFolders, build

__all__ = ["TestbedFolders", "build"]
