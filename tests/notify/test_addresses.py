"""Where notifications may go: nothing inside a network, unless the operator names that network."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from registry_auditor.config import Target
from registry_auditor.errors import UsageError
from registry_auditor.notify import check_targets
from registry_auditor.notify.addresses import Refused, reachable
from tests.notify.receiving import SECRET

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"])
def test_public_addresses_are_reachable_over_tls_only(address: str) -> None:
    assert reachable("hooks.example", [address], allowed=(), encrypted=True) == [address]
    with pytest.raises(Refused, match=r"hooks.example .* use https://"):
        reachable("hooks.example", [address], allowed=(), encrypted=False)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "192.0.2.1", "198.18.0.1", "::1", "fc00::1",
     "fec0::1", "2001:db8::1", "::7f00:1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1", "64:ff9b:1::808:808",
     "2001:0:808:808::1"],
)  # fmt: skip
def test_private_addresses_are_refused_whatever_they_are_wrapped_in(address: str) -> None:
    with pytest.raises(Refused, match="allow_private"):
        reachable("hooks.example", [address], allowed=(), encrypted=True)
    assert reachable("hooks.example", [address], allowed=EVERYTHING, encrypted=False) == [address]


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fd00:ec2::254",
     "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fe80::1", "fe80::1%2", "0.0.0.0", "::",
     "::ffff:0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1"],
)  # fmt: skip
def test_no_setting_allows_cloud_metadata_multicast_or_nobodys_address(address: str) -> None:
    with pytest.raises(Refused, match="no setting can allow"):
        reachable("hooks.example", [address], allowed=EVERYTHING, encrypted=True)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        reachable("hooks.example", ["8.8.8.8", "10.0.0.1"], allowed=(), encrypted=True)


WRONG = {
    "url is no address": {"url": "https://[::1"},
    "url must be https": {"url": "ftp://hooks.example/"},
    "url must": {"url": "hooks.example/audits"},
    "holds a user or password": {"url": "https://me:pw@hooks.example/"},
    "port 99999": {"url": "https://hooks.example:99999/"},
    "use https://": {"url": "http://hooks.example/"},
    "names no environment variable": {"secret_env": []},
    "MISSING is not in the environment": {"secret_env": ["TOLD", "MISSING"]},
    "GARBLED is not base64": {"secret_env": "GARBLED"},
    "SHORT is 3 bytes long": {"secret_env": "SHORT"},
    "holds no network": {"allow_private": ["10.1.0.0/33"]},
    "no setting can allow": {"allow_private": ["169.254.169.254/32"]},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_target_that_cannot_be_used_is_named_before_anything_is_sent(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TOLD": SECRET, "GARBLED": "whsec_not!base64", "SHORT": "QUJD"}.items():
        monkeypatch.setenv(name, value)
    target = Target(**({"url": "https://hooks.example/", "secret_env": ["TOLD"]} | WRONG[message]))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message) as told:
        check_targets({"security": target})
    assert "notifications.security" in str(told.value)
    assert "not!base64" not in str(told.value)


def test_the_keys_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLD", SECRET)
    endpoint = check_targets({"security": Target(url="https://hooks.example/", secret_env=["TOLD"])})["security"]
    assert "ABC" not in repr(endpoint)
    assert endpoint.keys == (b"ABC" * 8,)
