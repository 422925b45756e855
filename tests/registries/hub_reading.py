"""What the tests of transfers read, and what they look at afterwards."""

from __future__ import annotations

from torch import Tensor

from registry_auditor.weights import Snapshot
from tests.planted import weight
from tests.registries.hub_server import HubServer

FIRST, SECOND = weight(0, "mlp.up_proj"), weight(1, "mlp.up_proj")
MIB = 2**20


def read(snapshot: Snapshot, name: str) -> Tensor:
    return snapshot.matrices[name].read()


def ranges(hub: HubServer) -> list[str | None]:
    return [asked.range for asked in hub.requests if asked.host == "cdn"]
