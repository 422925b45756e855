"""What a model is called in standard documents: its digests and its package URL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry_auditor.domain import Audit, ModelRef

if TYPE_CHECKING:
    from packageurl import PackageURL

_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def digest_of_model(audit: Audit) -> str | None:
    """The digest of what was read, or what the audit was asked to read."""
    return audit.subject.model if audit.subject else audit.job.model.revision


def digest_of_base(audit: Audit) -> str | None:
    """The digest of the base, if there is one; see `digest_of_model`."""
    if audit.job.base is None:
        return None
    return (audit.subject.base if audit.subject else None) or audit.job.base.revision


def sha256(digest: str | None) -> str | None:
    """The hex digits of a `sha256:…` digest; None for another one."""
    match = _SHA256.fullmatch(digest or "")
    return match[1] if match else None


def digest_set(digest: str) -> dict[str, str]:
    """`digest` as an in-toto DigestSet: by `sha256`, `gitCommit`, or `registryRevision` for what is neither.

    The sha256 of a folder is that of the canonical JSON of the names and sha256 of its files.
    """
    hexadecimal = sha256(digest)
    if hexadecimal:
        return {"sha256": hexadecimal}
    return {"gitCommit" if _COMMIT.fullmatch(digest) else "registryRevision": digest}


def package_url(ref: ModelRef) -> PackageURL | None:
    """`pkg:huggingface/…` or `pkg:mlflow/…`; None for a folder, which no registry of packages knows."""
    from packageurl import PackageURL

    if ref.registry == "hf":
        group, _, name = ref.name.rpartition("/")
        return PackageURL("huggingface", group or None, name, ref.revision)
    return PackageURL("mlflow", None, ref.name, ref.revision) if ref.registry == "mlflow" else None
