"""Keys that attestations are signed with: Ed25519 or ECDSA, as PEM, from a file or the environment."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]  # it has no __all__

from registry_auditor.errors import UsageError

KEY, PASSPHRASE = "REGISTRY_AUDITOR_SIGNING_KEY", "REGISTRY_AUDITOR_KEY_PASSPHRASE"
"""Environment variables: the private key itself, and the passphrase of an encrypted one."""
MAX_BYTES = 2**16
MAKE = "openssl genpkey -algorithm ed25519 -out audit.key && openssl pkey -in audit.key -pubout -out audit.pub"


def signer(path: Path | None) -> CryptoSigner:
    """The private key in a file, or in the environment if no file is named.

    Raises UsageError if there is none, it is no Ed25519 or ECDSA key, or its passphrase is missing or wrong; nothing
    of the key or the passphrase is in the message.
    """
    content, where = _private(path)
    passphrase = os.environ.get(PASSPHRASE, "").encode() or None
    try:
        key = load_pem_private_key(content, passphrase)
    except TypeError:  # one of the two has a passphrase, the other does not
        problem = (
            f"has no passphrase: unset {PASSPHRASE}"
            if passphrase
            else f"is encrypted: put its passphrase in {PASSPHRASE}"
        )
        raise UsageError(f"{where} {problem}") from None
    except (ValueError, UnsupportedAlgorithm):
        wrong = f", or {PASSPHRASE} is not its passphrase" if passphrase else ""
        raise UsageError(f"{where} holds no private key in PEM{wrong}; make one with: {MAKE}") from None
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise UsageError(f"{where} holds a key of another kind than Ed25519 or ECDSA; make one with: {MAKE}")
    try:
        return CryptoSigner(key)
    except ValueError as error:
        raise UsageError(f"{where} holds a key that cannot be used: {error}; make one with: {MAKE}") from None


def public_key(path: Path) -> SSlibKey:
    """The public key in a file. Raises UsageError if it holds none, or one of another kind than Ed25519 or ECDSA."""
    where = f"the key in {path}"
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{where} is no public key in PEM; get it with: openssl pkey -in audit.key -pubout") from None
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey):
        raise UsageError(f"{where} is of another kind than Ed25519 or ECDSA; verify with the key that goes with --key")
    try:
        return SSlibKey.from_crypto(key)
    except ValueError as error:
        raise UsageError(f"{where} cannot be used: {error}") from None


def _private(path: Path | None) -> tuple[bytes, str]:
    """The bytes of the private key, and where they come from."""
    if path is not None:
        return _read(path), str(path)
    content = os.environ.get(KEY)
    if not content:
        raise UsageError(f"no key: name its file with --key, or put the key itself in {KEY}; make one with: {MAKE}")
    return content.encode(), KEY


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name the file of a key with --key") from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"{path}: is too large for a key; name the file of a key with --key")
    return content
