"""A real SQLite file and a real PostgreSQL server under every test of the store, and records to put into them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from registry_auditor.domain import (
    BaseSource,
    Coverage,
    Direction,
    Finding,
    Gap,
    Job,
    ModelRef,
    Run,
    RunStatus,
    Severity,
    Side,
    Site,
    StepKey,
    SubjectKey,
    Taxonomy,
)
from registry_auditor.store import Store
from registry_auditor.store.banks import BankFolder
from tests.postgresql import MIGRATED
from tests.store.vectors import Saved, Vectors


@pytest.fixture(params=["sqlite", "postgresql"])
def own_url(request: pytest.FixtureRequest) -> str:
    """What `url` is, for tests that change the schema."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("new_database")(MIGRATED)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database in which nothing is yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/audits.db"
    return request.getfixturevalue("new_database")("template1")


@pytest.fixture
def banks(tmp_path: Path) -> str:
    return str(tmp_path / "banks")


@pytest.fixture
def store(url: str, banks: str) -> Iterator[Store]:
    with Store.open(url, banks=banks) as opened:
        yield opened


@pytest.fixture
def reopened(store: Store, banks: str) -> Callable[[], Store]:
    """A function that gives what another process has: the same database, nothing read yet."""
    return lambda: Store(store._engine, BankFolder.open(banks))


@pytest.fixture
def counted() -> Callable[..., list[str]]:
    """A function that calls another one, and tells the SQL statements that a store sends meanwhile."""

    def count(store: Store, work: Callable[[], object]) -> list[str]:
        statements: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if not statement.startswith("BEGIN"):
                statements.append(statement)

        sa.event.listen(store._engine, "before_cursor_execute", note)
        work()
        sa.event.remove(store._engine, "before_cursor_execute", note)
        return statements

    return count


STEP = StepKey("svd-diff", 1, "params-digest")
SUBJECT = SubjectKey("tuned-digest", "base-digest")


@pytest.fixture
def step() -> StepKey:
    return STEP


@pytest.fixture
def subject() -> SubjectKey:
    return SUBJECT


@pytest.fixture
def job() -> Callable[..., Job]:
    """A function that makes a job for a model of this name."""

    def make(name: str = "org/tuned", **changes: Any) -> Job:
        made = Job(
            ModelRef("hf", name, "3f2a"),
            ModelRef("hf", "org/base", "1b2c"),
            BaseSource.CARD,
            plan=(STEP, replace(STEP, analyzer="token-projection")),
        )
        return replace(made, **changes)

    return make


@pytest.fixture
def finding() -> Finding:
    return Finding(
        code="svd-diff/rank-one-update",
        severity=Severity.MEDIUM,
        message="one direction holds 99% of the update",
        score=0.99,
        threshold=0.9,
        fpr=0.001,
        site=Site("model.layers.3.mlp.down_proj.weight", 3, "mlp.down", Side.WRITES),
        evidence={"key": "rank-one", "spectrum": [3.0, 0.1]},
        taxonomies=(Taxonomy("mitre-atlas", "5.0", "AML.T0018"),),
    )


@pytest.fixture
def directions() -> Callable[..., tuple[Direction, ...]]:
    """A function that makes unit vectors, the same whenever its arguments are."""

    def make(count: int = 3, *, dimension: int = 8, seed: int = 0) -> tuple[Direction, ...]:
        vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        site = Site("model.layers.3.mlp.down_proj.weight", 3, "mlp.down", Side.WRITES)
        return tuple(Direction(site, k, float(count - k), 1e-6, vectors[k]) for k in range(count))

    return make


@pytest.fixture
def run() -> Callable[..., Run]:
    """A function that makes a run, `ok` and empty unless told."""

    def make(**changes: Any) -> Run:
        made = Run(
            step=STEP,
            subject=SUBJECT,
            params={"max_rank": 20},
            status=RunStatus.OK,
            reason=None,
            seconds=1.5,
            device="cpu",
            peak_memory_bytes=3 * 2**30,
            coverage=Coverage(12, (Gap("model.layers.0.mlp.gate.weight", "4-bit GPTQ is not read"),)),
        )
        return replace(made, **changes)

    return make


@pytest.fixture
def learnt(store: Store, job: Callable[..., Job], run: Callable[..., Run]) -> Saved:
    """A function that saves an audit of a model with these directions; returns the bank's digest."""

    def save(
        name: str, vectors: Vectors, *, base: str | None = "base-digest", of_job: Any = None, **of_run: Any
    ) -> str:
        directions = tuple(
            Direction(
                Site(f"model.layers.{k}.mlp.down_proj.weight", k, "mlp.down", Side.WRITES),
                0,
                float(len(vectors) - k),
                1e-6,
                vector,
            )
            for k, vector in enumerate(vectors)
        )
        audit = store.submit(job(name, **(of_job or {})))
        made = run(subject=SubjectKey(f"{name}-digest", base), directions=directions)
        store.save(audit.id, replace(made, **of_run))
        return store.runs(audit.id)[-1].banks[0].sha256

    return save


@pytest.fixture(params=[True, False], ids=["exact", "sketched"])
def exact(request: pytest.FixtureRequest) -> bool:
    """How the search goes about it."""
    return bool(request.param)


class Process:
    """Another process, stopped at `pause()` of its script until it is told to go on."""

    def __init__(self, script: str, *arguments: str) -> None:
        prelude = "import sys\ndef pause():\n    print('ready', flush=True); sys.stdin.readline()\n"
        self.popen = subprocess.Popen(
            [sys.executable, "-P", "-c", prelude + script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line == "ready\n", self.popen.communicate()[1]

    def go(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def output(self) -> str:
        out, err = self.popen.communicate(timeout=60)
        assert self.popen.returncode == 0, err
        return out

    def kill(self) -> None:
        self.popen.kill()
        self.popen.communicate()


@pytest.fixture
def process() -> Iterator[Callable[..., Process]]:
    """A function that starts another process with a script and its arguments."""
    started: list[Process] = []

    def start(script: str, *arguments: str) -> Process:
        started.append(Process(script, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def at_once(process: Callable[..., Process]) -> Callable[..., list[str]]:
    """A function that runs a script in several processes, from `pause()` on together; what each of them printed."""

    def race(script: str, *arguments: str, processes: int = 2) -> list[str]:
        racers = [process(script, *arguments, str(number)) for number in range(processes)]
        for racer in racers:
            racer.wait_until_ready()
        for racer in racers:
            racer.go()
        return [racer.output() for racer in racers]

    return race
