"""A target of the settings, checked: where to, signed with which keys."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network

import httpx2

from registry_auditor.config import Target
from registry_auditor.errors import UsageError
from registry_auditor.notify.addresses import NEVER, Network

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)
"""Source: Standard Webhooks 1.0.0, "Signature scheme": between 192 and 512 bits."""
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Endpoint:
    """Where a target is reached, and how it recognises us."""

    name: str
    url: httpx2.URL
    keys: tuple[bytes, ...] = field(repr=False)
    """One signature each: several while a secret is being replaced."""
    allowed: tuple[Network, ...]

    @property
    def host(self) -> str:
        """As DNS and TLS spell it."""
        return self.url.raw_host.decode("ascii")

    @property
    def port(self) -> int:
        """The one in the address, or that of its scheme."""
        return self.url.port or DEFAULT_PORTS[self.url.scheme]


def check_targets(targets: Mapping[str, Target]) -> dict[str, Endpoint]:
    """Every target, ready to be sent to.

    Raises UsageError, naming the target and what to change, for an address or a network that cannot be used and for
    a secret that is missing or malformed.
    """
    return {name: _endpoint(name, target) for name, target in targets.items()}


def _endpoint(name: str, target: Target) -> Endpoint:
    if not target.secret_env:
        raise UsageError(f"notifications.{name}: secret_env names no environment variable, so nothing could be signed")
    return Endpoint(
        name,
        _url(name, target),
        tuple(_key(name, variable) for variable in target.secret_env),
        tuple(_network(name, text) for text in target.allow_private),
    )


def _url(name: str, target: Target) -> httpx2.URL:
    try:
        url = httpx2.URL(target.url)
    except httpx2.InvalidURL as error:
        raise UsageError(f"notifications.{name}: url is no address: {error}") from None
    if url.scheme not in DEFAULT_PORTS or not url.host:
        raise UsageError(f"notifications.{name}: url must be https://HOST/…, or http:// inside allow_private")
    if url.userinfo:
        raise UsageError(
            f"notifications.{name}: url holds a user or password; take it out: messages are signed instead"
        )
    if not 0 < (url.port or DEFAULT_PORTS[url.scheme]) < 2**16:
        raise UsageError(f"notifications.{name}: url has port {url.port}; there are 1 to 65535")
    if url.scheme == "http" and not target.allow_private:
        raise UsageError(
            f"notifications.{name}: http:// goes to the networks in allow_private only, which is empty; use https://"
        )
    return url


def _key(name: str, variable: str) -> bytes:
    text = os.environ.get(variable, "").strip()
    hint = f"set it to {PREFIX}$(openssl rand -base64 32), for instance"
    if not text:
        raise UsageError(f"notifications.{name}: its secret is missing: {variable} is not in the environment; {hint}")
    digits = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except ValueError:
        raise UsageError(f"notifications.{name}: the secret in {variable} is not base64; {hint}") from None
    if len(key) not in KEY_BYTES:
        wanted = f"{KEY_BYTES.start} to {KEY_BYTES.stop - 1}"
        raise UsageError(
            f"notifications.{name}: the secret in {variable} is {len(key)} bytes long, not {wanted}; {hint}"
        )
    return key


def _network(name: str, text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise UsageError(
            f"notifications.{name}: allow_private holds no network: {error}; write 10.1.0.0/16, for instance"
        ) from None
    for never in NEVER:
        if network.version == never.version and int(never[0]) <= int(network[0]) and int(network[-1]) <= int(never[-1]):
            raise UsageError(
                f"notifications.{name}: allow_private holds {text}, which no setting can allow: "
                "cloud metadata, link-local or multicast; take it out"
            )
    return network
