"""Bytes to normalised matrices: every mess of a model format ends in this package."""

from registry_auditor.weights.delta import Delta
from registry_auditor.weights.matrix import Matrix
from registry_auditor.weights.pairing import Pairing, pair
from registry_auditor.weights.snapshot import Snapshot, open_snapshot

__all__ = ["Delta", "Matrix", "Pairing", "Snapshot", "open_snapshot", "pair"]
