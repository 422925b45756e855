"""Small real audits, served by the real command, for tests in a browser and for screenshots."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from torch import Tensor

from registry_auditor.cli import main
from tests import planted
from tests.registries.hub_server import HubServer

AUTHOR = "acme"
REGISTRIES = (f"hf:{AUTHOR}",)
"""What a server watches of these audits."""


def fine_tunes(folder: Path) -> tuple[Path, Path, Path]:
    """A base, and two fine-tunes that share what half of their matrices learnt."""
    base = planted.save(planted.llama(), folder / "base", tokenizer=True)

    def taught(own: int) -> planted.Change:
        def change(tensors: dict[str, Tensor]) -> None:
            for layer in range(planted.LAYERS):
                for module in ("mlp.down_proj", "self_attn.o_proj"):
                    planted.add_rank_one(tensors[planted.weight(layer, module)], seed=7, relative=0.1 + 0.1 * layer)
                planted.add_rank_one(tensors[planted.weight(layer, "self_attn.q_proj")], seed=own + layer, relative=0.2)

        return change

    first = planted.fine_tune(base, folder / "polite", taught(100))
    return base, first, planted.fine_tune(base, folder / "terse", taught(200))


def audited(folder: Path, base: Path, *tuned: Path) -> str:
    """The database, in `folder`, of an audit of each of `tuned` against `base`, all of them models of a Hub."""
    db = f"sqlite:///{folder}/auditor.db"
    with HubServer(folder / "hub") as hub, pytest.MonkeyPatch.context() as patch:
        hub.reach(patch, folder / "client")
        patch.setenv("XDG_DATA_HOME", str(folder / "user"))
        for each in (base, *tuned):
            hub.push(f"{AUTHOR}/{each.name}", each)
        for each in tuned:
            asked = ["audit", f"hf:{AUTHOR}/{each.name}", "--base", f"hf:{AUTHOR}/{base.name}", "--db", db]
            with pytest.raises(SystemExit):
                main([*asked, "--format", "json", "--output", f"{each}.json"])
    return db


@contextmanager
def serving(db: str, *options: str, registries: Sequence[str] = ()) -> Iterator[str]:
    """The address at which `registry-auditor serve` answers until the context ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "registry_auditor", "serve", "--port", str(port), "--db", db, *options]
    environment = {**os.environ, "REGISTRY_AUDITOR_REGISTRIES": json.dumps([*registries])}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(server, address)
            yield address
        finally:
            server.terminate()


def _wait_for(server: subprocess.Popen[str], address: str) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{address}/health"):
                return
        except OSError:
            assert server.poll() is None, server.stderr and server.stderr.read()
            time.sleep(0.1)
    raise AssertionError("the server did not start")
