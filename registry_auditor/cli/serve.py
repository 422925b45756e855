"""`registry-auditor serve`: the web application."""

from __future__ import annotations

import errno
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    no_auth: options.NoAuth = False,
) -> None:
    """Serve the pages and the API, and answer webhooks, until it is stopped with Ctrl-C or SIGTERM.

    Who reads needs a token: `registry-auditor tokens create`. A registry that is configured as a hook calls
    /hooks/SOURCE/ID; what it says is looked into by `watch`.

    Example: registry-auditor serve --host 127.0.0.1 --port 8321
    """
    with ExitStack() as stack:
        with _nothing_thrown_away():
            from registry_auditor.api.app import create_app
            from registry_auditor.config import load

            settings = load(db=db, banks=banks)
            store = stack.enter_context(options.open_store(settings))
            app = create_app(settings, store, open_to_all=no_auth)
        with _listen(host, port) as listening:
            if no_auth:
                _require_loopback(host, listening)
            shown = f"[{host}]" if listening.family == socket.AF_INET6 else host
            typer.echo(f"listening on http://{shown}:{port}", err=True)
            _run(app, listening)


@contextmanager
def _nothing_thrown_away() -> Iterator[None]:
    """While modules are loaded, which stay: to look for garbage among them takes a tenth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


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


def _require_loopback(host: str, listening: socket.socket) -> None:
    """Raises UsageError if anybody but this machine can reach `listening`."""
    from registry_auditor.api.origins import is_loopback

    if not is_loopback(listening.getsockname()[0]):
        raise UsageError(
            f"--no-auth: {host} can be reached from other machines; pass --host 127.0.0.1, "
            "or leave --no-auth out and make a token: registry-auditor tokens create NAME"
        )


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
