"""Where models come from: a registry lists and opens, nothing else."""

from registry_auditor.registries.cache import Cache
from registry_auditor.registries.claims import Claim
from registry_auditor.registries.folder import FolderRegistry
from registry_auditor.registries.registry import Change, Registry
from registry_auditor.registries.resolve import claim_of, home, open_model, resolve, resolve_claim, verify, watched

__all__ = [
    "Cache",
    "Change",
    "Claim",
    "FolderRegistry",
    "Registry",
    "claim_of",
    "home",
    "open_model",
    "resolve",
    "resolve_claim",
    "verify",
    "watched",
]
