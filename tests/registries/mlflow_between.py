"""A server between a client and a real one: it passes everything on, keeps a record, and tampers where told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2


@dataclass
class Answer:
    """What a client gets."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    """The length that the header names, where it is not that of `body`."""


Tamper = Callable[[str, Answer], Answer]


def faithful(path: str, answer: Answer) -> Answer:
    """Change nothing."""
    return answer


@dataclass
class Between:
    """Its address, what it was asked for, and what it does with answers: replace it at will."""

    url: str
    asked: list[str] = field(default_factory=list)
    tamper: Tamper = faithful


@contextmanager
def between(upstream: str) -> Iterator[Between]:
    """Stand before the server at `upstream`."""

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {name: self.headers[name] for name in ("Content-Type", "Authorization") if name in self.headers}
            came = httpx2.request(self.command, upstream + self.path, content=body, headers=kept)
            state.asked.append(self.path)
            kind = came.headers.get("Content-Type", "text/plain")
            answer = state.tamper(self.path, Answer(came.status_code, came.content, {"Content-Type": kind}))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) if answer.promised is None else answer.promised))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _pass_on

        def log_message(self, *_: object) -> None:
            """Tests are silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state = Between(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
