"""Every test stays in its own folder: no test sees the user's data, settings or network.

What most tests start from: a tiny base, the command line, and an audit of a pair as its JSON report.
"""

# ruff: noqa: E402  # the environment comes before what reads it on import

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
pytest_plugins = ["tests.postgresql"]
# The Hub's client reads these when it is imported, which test modules do.
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=str(ROOT / "build" / "no-hub"), HF_HUB_DISABLE_PROGRESS_BARS="1")

import numpy as np
import numpy.typing as npt
import pytest

from registry_auditor.cli import main
from registry_auditor.store import Store, StoredDirection, upgrade
from tests import planted
from tests.ending import at_the_end

SHARED_DATA = ROOT.parent / "shared" / "data"
Json = dict[str, Any]
Directions = list[tuple[StoredDirection, npt.NDArray[np.float32]]]


def pytest_sessionfinish() -> None:
    at_the_end.close()


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("REGISTRY_AUDITOR_")]:
        monkeypatch.delenv(name)
    for name in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / "user" / name.lower()))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real checkpoints and adapters, which lie beside a checkout that has them."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real models in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Llama with a tokenizer; nobody writes into it."""
    return planted.save(planted.llama(), tmp_path_factory.mktemp("models") / "base", tokenizer=True)


@pytest.fixture
def tuned_by(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a fine-tune of `base` by changing its tensors in place."""

    def make(change: planted.Change, *, name: str = "tuned") -> Path:
        return planted.fine_tune(base, tmp_path / name, change)

    return make


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, which must be JSON and nothing else."""
        return json.loads(self.out)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with our tables and nothing in them."""
    file = tmp_path_factory.mktemp("database") / "auditor.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated: Path) -> str:
    """A file `auditor.db` in the folder of the test, with our tables and nothing in them."""
    shutil.copy(migrated, tmp_path / "auditor.db")
    return f"sqlite:///{tmp_path}/auditor.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A database of each kind with our tables, and nothing in them."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
def db(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database of the test; the settings name it too."""
    monkeypatch.setenv("REGISTRY_AUDITOR_DB", sqlite_url)
    return sqlite_url


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, started in the folder of the test; returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Outcome(left.value.code, out, err)

    return call


@pytest.fixture
def audited(cli: Cli) -> Callable[..., Json]:
    """A function that audits a model against a base from the command line and returns the JSON report."""

    def audit(tuned: Path, base: Path | None, *options: object) -> Json:
        against = () if base is None else ("--base", base)
        done = cli("audit", tuned, *against, "--format", "json", *options)
        assert done.out, done.err
        report: Json = done.json
        assert report["exit_code"] == done.code
        return report

    return audit


@pytest.fixture
def directions_of(db: str) -> Callable[[Json], Directions]:
    """A function that gives the directions of a report, strongest first, each with its vector."""

    def read(report: Json) -> Directions:
        with Store.open(db) as store:
            found = store.directions.list(audit_id=report["audit"]["id"], limit=100_000).items
            vectors = {bank: store.banks.vectors(bank) for bank in {each.bank for each in found}}
        return [(each, vectors[each.bank][each.ordinal]) for each in found]

    return read
