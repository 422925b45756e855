"""Where models come from: a registry lists and opens, nothing else."""

from registry_auditor.registries.claims import Claim, claimed_base
from registry_auditor.registries.resolve import open_model, resolve, resolve_claim

__all__ = ["Claim", "claimed_base", "open_model", "resolve", "resolve_claim"]
