"""Keys: the kinds that sign, where they come from, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from registry_auditor.errors import UsageError
from registry_auditor.report.keys import KEY, PASSPHRASE, public_key, signer
from tests.report.samples import plain, run_of
from tests.report.signing import DIGEST, attested, checked, write

SECRET = b"a passphrase"
KINDS = [
    ed25519.Ed25519PrivateKey.generate(),
    *(ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)),
]


@pytest.mark.parametrize("key", KINDS, ids=["ed25519", "p256", "p384", "p521"])
def test_what_was_signed_with_a_key_is_verified_with_its_public_one(key: Any, tmp_path: Path) -> None:
    private, public = write(tmp_path, key)
    decision = checked(attested(plain(run_of()), private), public, digest=DIGEST)
    assert decision.accepted, decision.reasons


def test_a_key_with_a_passphrase_takes_it_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = write(tmp_path, ed25519.Ed25519PrivateKey.generate(), passphrase=SECRET)
    with pytest.raises(UsageError, match=f"is encrypted: put its passphrase in {PASSPHRASE}"):
        signer(private)
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(UsageError, match=f"{PASSPHRASE} is not its passphrase") as error:
        signer(private)
    assert "wrong" not in str(error.value)
    monkeypatch.setenv(PASSPHRASE, SECRET.decode())
    assert checked(attested(plain(run_of()), private), public).accepted


def test_a_passphrase_for_a_key_that_has_none_is_a_mistake(
    keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE, "unneeded")
    with pytest.raises(UsageError, match=f"has no passphrase: unset {PASSPHRASE}"):
        signer(keys[0])


def test_a_key_may_be_in_the_environment(keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no key: name its file with --key"):
        signer(None)
    monkeypatch.setenv(KEY, keys[0].read_text())
    assert signer(None).public_key.keyid == public_key(keys[1]).keyid
    monkeypatch.setenv(KEY, "/some/file")
    with pytest.raises(UsageError, match=f"{KEY} holds no private key in PEM") as error:
        signer(None)
    assert "/some/file" not in str(error.value)


def test_a_key_that_cannot_be_read_or_is_of_another_kind_says_how_to_make_one(
    keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = write(tmp_path, rsa.generate_private_key(65537, 2048), "rsa")
    odd, odd_public = write(tmp_path, ec.generate_private_key(ec.SECP256K1()), "odd")
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00" * 70_000)
    for path, told in (
        (tmp_path / "none", "cannot be read"), (tmp_path, "cannot be read"), (keys[1], "no private key"),
        (private, "another kind"), (odd, "cannot be used"), (garbage, "too large"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=told):
            signer(path)
    for path, told in (
        (tmp_path / "none", "cannot be read"), (keys[0], "no public key"), (public, "another kind"),
        (odd_public, "cannot be used"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=told):
            public_key(path)
