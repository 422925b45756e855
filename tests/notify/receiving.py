"""A real receiver on loopback, which answers as it is told, and what it was sent."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

from registry_auditor.config import Target

SECRET = "whsec_" + "QUJD" * 8
OLD_SECRET = "WFla" * 8
HOSTILE_S = 10.0
"""How long a receiver that means harm goes on: far longer than a test waits for it."""

Behaviour = Callable[[BaseHTTPRequestHandler], None]


def answering(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """A receiver that answers at once."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def silent(request: BaseHTTPRequestHandler) -> None:
    """A receiver that takes the message and says nothing."""
    request.server.receiver.stopped.wait(HOSTILE_S)


@dataclass
class Receiver:
    """What has arrived, as (headers with names in lower case, body)."""

    port: int
    stopped: threading.Event
    behaviour: Behaviour = field(default_factory=lambda: answering(204))
    arrived: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/audits?of=all"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.arrived]

    def verified(self, secret: str = SECRET) -> list[Any]:
        """The payloads, if each of them was signed with `secret`."""
        return [Webhook(secret).verify(body, headers) for headers, body in self.arrived]

    def target(self, **changes: Any) -> Target:
        given: dict[str, Any] = {"url": self.url, "secret_env": ["TOLD"], "allow_private": ["127.0.0.0/8"]}
        return Target(**(given | changes))


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.receiver.arrived.append(({k.lower(): v for k, v in self.headers.items()}, body))
        with suppress(OSError):  # the sender had enough
            self.server.receiver.behaviour(self)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    receiver: Receiver
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        pass  # a sender that hangs up is what some tests are about


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on a port of its own, until the block ends."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.receiver = Receiver(server.server_port, threading.Event())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.receiver
        server.receiver.stopped.set()
        server.shutdown()
        thread.join()
