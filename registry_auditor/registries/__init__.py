"""Where models come from: a registry lists and opens, nothing else."""

from registry_auditor.registries.claims import Claim
from registry_auditor.registries.resolve import claim_of, open_model, resolve, resolve_claim

__all__ = ["Claim", "claim_of", "open_model", "resolve", "resolve_claim"]
