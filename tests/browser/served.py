"""Small real audits, served by the real command, for tests in a browser and for screenshots."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from tests import planted


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


@contextmanager
def serving(db: str, *options: str) -> Iterator[str]:
    """The address at which `registry-auditor serve` answers until the context ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "registry_auditor", "serve", "--port", str(port), "--db", db, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
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
