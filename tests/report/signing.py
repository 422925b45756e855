"""Keys, and statements signed with them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from registry_auditor.report import Report
from registry_auditor.report.attestation import Terms, opened, sign, statement
from registry_auditor.report.gate import Decision
from registry_auditor.report.keys import public_key, signer
from registry_auditor.report.verification import Claim, verify
from tests.report.samples import NOW

MONTH = timedelta(days=30)
DIGEST = "sha256:" + "a" * 64


def write(folder: Path, key: Any, name: str = "audit", passphrase: bytes | None = None) -> tuple[Path, Path]:
    """The files of a private key and of its public one."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def attested(document: Report, private: Path, **terms: Any) -> bytes:
    return sign(statement(document, Terms(NOW, MONTH, **terms)), signer(private)).encode()


def checked(content: bytes, public: Path, *, later: timedelta = timedelta(), **against: Any) -> Decision:
    return verify(Claim.of(opened(content, public_key(public))), now=NOW + later, **against)
