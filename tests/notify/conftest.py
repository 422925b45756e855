"""A real receiver on loopback, and one with TLS."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notify.receiving import SECRET, Receiver, serving


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("TOLD", SECRET)
    with serving() as started:
        yield started


@pytest.fixture
def other() -> Iterator[Receiver]:
    """A second one, which shares the secret."""
    with serving() as started:
        yield started


@pytest.fixture
def encrypted(monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]) -> Iterator[Receiver]:
    """The same with TLS, for the name hooks.test; nobody trusts its certificate yet."""
    monkeypatch.setenv("TOLD", SECRET)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serving(context) as started:
        yield started


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for hooks.test, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    file, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=hooks.test", "-addext", "subjectAltName=DNS:hooks.test", "-keyout", key, "-out", file],
        check=True, capture_output=True,
    )  # fmt: skip
    return file, key
