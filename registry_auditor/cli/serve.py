"""`registry-auditor serve`: the web application."""

from __future__ import annotations

import errno
import signal
import socket
from typing import TYPE_CHECKING

import typer

from registry_auditor.cli import options
from registry_auditor.errors import AuditorError, UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE_S = 20
"""How long requests in progress may take once the server was asked to stop."""
MAX_CONNECTIONS = 1000
"""Each may hold a body of 1 MiB that nobody has verified yet."""


def serve(
    host: options.Host = "127.0.0.1",
    port: options.Port = 8321,
    db: options.DB = None,
    banks: options.Banks = None,
) -> None:
    """Answer webhooks, /health and /metrics until it is stopped with Ctrl-C or SIGTERM.

    A registry that is configured as a hook calls /hooks/SOURCE/ID; what it says is looked into by `watch`.

    Example: registry-auditor serve --host 127.0.0.1 --port 8321
    """
    from registry_auditor.api.app import create_app
    from registry_auditor.config import load

    settings = load(db=db, banks=banks)
    with options.open_store(settings) as store:
        app = create_app(settings, store)
        with _listen(host, port) as listening:
            shown = f"[{host}]" if listening.family == socket.AF_INET6 else host
            typer.echo(f"listening on http://{shown}:{port}", err=True)
            _run(app, listening)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises AuditorError if the port is taken, UsageError if the address is none of ours."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except socket.gaierror as error:
        raise UsageError(f"--host {host}: {error.strerror}; pass an address of this machine") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AuditorError(
                f"port {port} of {host} is in use; stop the program that listens there, or pass another --port"
            ) from error
        if error.errno == errno.EACCES:
            raise AuditorError(f"port {port} is not open to this user; pass a --port from 1024 on") from error
        raise UsageError(f"--host {host}: {error.strerror}; pass an address of this machine") from error


def _run(app: FastAPI, listening: socket.socket) -> None:
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,  # our own stays as it is
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
        )
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    # Once it has shut down, the server raises the signal again that told it to; to have stopped is a success.
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, stop)
    server.run(sockets=[listening])
