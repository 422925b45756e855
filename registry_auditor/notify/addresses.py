"""Which addresses a notification may go to: public ones, and the private networks that the operator has named.

The address that was checked is the one that is connected to: a name that resolves to something else a moment later
(DNS rebinding) is never asked again.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from registry_auditor.errors import AuditorError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, the one to try first first. Raises OSError or UnicodeError if it has none."""

GLOBAL_UNICAST = ip_network("2000::/3")
"""All of IPv6 that is routed in public; what the registries add to the special ranges lies outside."""
NAT64 = ip_network("64:ff9b::/96")

NEVER: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local, where most clouds hand out credentials
        "fe80::/10",
        "fd00:ec2::/32",  # metadata: AWS
        "fd20:ce::254/128",  # Google Cloud
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure, although it is a public address
        "192.0.0.192/32",  # Oracle Cloud
        "0.0.0.0/8",  # nobody's, but Linux takes it for this machine
        "::/128",
        "224.0.0.0/4",  # multicast
        "ff00::/8",
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
"""What no setting can allow."""


class Refused(AuditorError):
    """A host has an address that notifications may not go to, or none at all."""


def resolve(host: str, port: int) -> tuple[str, ...]:
    """What the system's resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def reachable(host: str, addresses: Iterable[str], *, allowed: Sequence[Network], encrypted: bool) -> list[str]:
    """The addresses of `host`, if every one of them may be connected to.

    Without encryption only those in `allowed` may. Raises Refused otherwise: a host that is public and private at
    once is not one whose operator can be trusted with the choice.
    """
    found = list(addresses)
    for text in found:
        address = _meant(ip_address(text))
        shown = host if host == text else f"{host} ({text})"
        if any(address in network for network in NEVER):
            raise Refused(f"{shown} is an address that no setting can allow: metadata, link-local or multicast")
        if any(address in network for network in allowed):
            continue
        if not _is_public(address):
            raise Refused(
                f"{shown} is not a public address; if it is meant, put its network into allow_private of the target"
            )
        if not encrypted:
            raise Refused(f"{shown} is a public address, which is told nothing without encryption: use https://")
    return found


def _meant(address: Address) -> Address:
    """The IPv4 address where an IPv6 one only wraps it: what a gateway or the kernel would connect to."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
