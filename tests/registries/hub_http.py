"""Plain HTTP for the small Hub: requests and answers as values, ranges, and answers that break off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

_CHUNK_BYTES = 2**16


@dataclass(frozen=True)
class Answer:
    """A response; `content` is its body, or the part of a file."""

    status: int
    content: bytes | tuple[Path, int, int] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate: int | None = None
    """Bytes of the body after which the connection breaks."""
    pause_s: float = 0

    @property
    def length(self) -> int:
        """Of the body."""
        return len(self.content) if isinstance(self.content, bytes) else self.content[2] - self.content[1]

    @property
    def body(self) -> bytes:
        """All of it."""
        if isinstance(self.content, bytes):
            return self.content
        path, start, stop = self.content
        with path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)


@dataclass(frozen=True)
class Asked:
    """A request."""

    host: str
    method: str
    target: str
    token: str | None
    range: str | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""

    @property
    def path(self) -> str:
        """Without the query, decoded."""
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, list[str]]:
        """By parameter."""
        return parse_qs(urlsplit(self.target).query)

    def again(self, **other: str) -> str:
        """The same target with other parameters."""
        changed = {**self.query, **{key: [value] for key, value in other.items()}}
        return f"{urlsplit(self.target).path}?{urlencode(changed, doseq=True)}"

    def part(self, path: Path, headers: Mapping[str, str]) -> Answer:
        """The file at `path`, or the range of it that was asked for."""
        size = path.stat().st_size
        if self.range is None:
            return Answer(200, (path, 0, size), headers)
        first, _, last = self.range.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or size - 1) + 1, size)
        if start >= size:
            return Answer(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
        return Answer(206, (path, start, stop), {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"})


@dataclass(frozen=True)
class Served:
    """A running server."""

    server: ThreadingHTTPServer
    thread: threading.Thread

    @property
    def url(self) -> str:
        """On loopback."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        """Afterwards its port is closed."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def serve(answer: Callable[[Asked], Answer], count: Callable[[int, int], None], *, host: str) -> Served:
    """Answer on a free port; `count` is told the bytes of bodies, and connections, as they come."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            count(0, 1)

        def do_GET(self) -> None:
            token = self.headers.get("Authorization")
            token = token.removeprefix("Bearer ") if token else None
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = dict(self.headers.items())
            given = answer(Asked(host, self.command, self.path, token, self.headers.get("Range"), headers, body))
            time.sleep(given.pause_s)
            self.send_response(given.status)
            for name, value in {"Content-Type": "application/json", **given.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(given.length))
            self.end_headers()
            if self.command != "HEAD":
                self._send(given)

        do_HEAD = do_POST = do_GET

        def _send(self, given: Answer) -> None:
            left = given.length if given.truncate is None else min(given.truncate, given.length)
            self.close_connection = given.truncate is not None
            body = memoryview(given.body)[:left]
            for start in range(0, left, _CHUNK_BYTES):
                chunk = body[start : start + _CHUNK_BYTES]
                count(len(chunk), 0)  # before it leaves: whoever has read it may ask at once what was sent
                try:
                    self.wfile.write(chunk)
                except ConnectionError:
                    return

        def log_message(self, format: str, *args: object) -> None:
            """Tests have nothing to read here."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    return Served(server, thread)
