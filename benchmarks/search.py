"""Direction search: how long it takes and what it overlooks, with up to a million directions of 4,096 dimensions.

    python benchmarks/search.py --folder DIR [--directions 1000000] [--dimension 4096] [--queries 100]
                              [--exact]

Fills DIR with a store, through `Store.save`, unless it is there already: 16 GB of bank files for a million directions.
One direction in five belongs to a crowd: 400 lines have 500 directions each around them, at every |cos| from 0 to 0.8,
and all directions, of crowds or not, share some of their length with 16 common ones, as those of one base do. Ten
neighbours of each query are planted among the others, at |cos| 0.5 to 0.99. What is true is found by going through all
files once. What was planted is sought by `nearest_to`; the neighbours of a member of a crowd, where the ten nearest
have to be told from a hundred that are nearly as near, by `nearest`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from registry_auditor.domain import Coverage, Direction, Job, ModelRef, Run, RunStatus, Side, Site, StepKey, SubjectKey
from registry_auditor.store import Store
from registry_auditor.store.banks import BankFolder
from registry_auditor.store.search import Search, spaces
from registry_auditor.store.search.index import Space
from registry_auditor.store.search.neighbours import Nearest
from registry_auditor.store.search.scan import exact_scores
from registry_auditor.store.search.spaces import Place
from registry_auditor.store.search.vectors import rows

Vectors = npt.NDArray[np.float32]

IN_BANK = 1000
CROWDS = 400
CROWDED = 0.2
COMMON, COMMON_SHARE = 16, 0.2
"""Directions that all others lean to, and the length of what they have of them."""
PLANTED = 10
STEP = StepKey("svd-diff", 1, "as published")


@dataclass(frozen=True)
class World:
    """What a store is filled with; the same whenever its numbers are."""

    directions: int
    dimension: int
    queries: int

    @property
    def basis(self) -> str:
        """Worlds of one store are kept apart by their base."""
        return f"base-{self.directions}-{self.dimension}"

    @property
    def asked(self) -> Vectors:
        """The vectors near which something is planted."""
        return unit(np.random.default_rng(1).standard_normal((self.queries, self.dimension), np.float32))

    def banks(self) -> Iterator[Vectors]:
        """Unit vectors, a bank at a time."""
        random = np.random.default_rng(2)
        common = unit(random.standard_normal((COMMON, self.dimension), np.float32))
        lines = unit(random.standard_normal((CROWDS, self.dimension), np.float32))
        planted = np.sort(random.choice(self.directions, self.queries * PLANTED, replace=False))
        queries = random.permutation(np.repeat(np.arange(self.queries), PLANTED))
        asked = self.asked
        for first in range(0, self.directions, IN_BANK):
            vectors = unit(random.standard_normal((IN_BANK, self.dimension), np.float32))
            leaning = random.standard_normal((IN_BANK, COMMON), np.float32) @ common
            vectors += COMMON_SHARE * unit(leaning)
            crowded = random.random(IN_BANK) < CROWDED
            near = random.uniform(0, 0.8, (IN_BANK, 1)).astype(np.float32)
            beside = near * lines[random.integers(CROWDS, size=IN_BANK)] + np.sqrt(1 - near**2) * unit(vectors)
            vectors[crowded] = beside[crowded]
            vectors = unit(vectors)
            for place in range(*np.searchsorted(planted, [first, first + IN_BANK])):
                query, cosine = asked[queries[place]], random.uniform(0.5, 0.99) * random.choice([-1, 1])
                across = vectors[planted[place] - first]
                across = unit(across - (across @ query) * query)
                vectors[planted[place] - first] = cosine * query + np.sqrt(1 - cosine**2) * across
            yield vectors


def unit(vectors: Vectors) -> Vectors:
    """Each row with the length one."""
    scaled: Vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def fill(store: Store, world: World) -> None:
    """Afterwards the store has an audit for each bank of the world."""
    run = Run(STEP, SubjectKey("", world.basis), {}, RunStatus.OK, None, 1.0, "cpu", None, Coverage())
    for number, vectors in enumerate(world.banks()):
        model = ModelRef("hf", f"org/{world.basis}-{number}", "1b2c")
        directions = tuple(
            Direction(Site(f"layers.{k // 20}.mlp.down", k // 20, "mlp.down", Side.WRITES), k % 20, 1.0, 0.0, vector)
            for k, vector in enumerate(vectors)
        )
        audit = store.submit(Job(model))
        subject = SubjectKey(f"{world.basis}-{number}", world.basis)
        store.save(audit.id, Run(**{**vars(run), "subject": subject, "directions": directions}))
        if number % 50 == 49:
            print(f"{world.basis}: {(number + 1) * IN_BANK} directions", flush=True)


@dataclass(frozen=True)
class Asked:
    """Queries of one kind: how each is put, and what is truly near."""

    name: str
    search: Callable[[Search, int], Nearest]
    truth: list[set[Place]]
    """For each query the ten nearest, of those at |cos| 0.5 or more."""


def kinds(store: Store, world: World) -> list[Asked]:
    """Vectors with planted neighbours, and members of crowds; the truth from going through all files once."""
    folder, asked = store._banks, world.asked
    space, _ = store.search._index.space(store._read(spaces.named, world.basis, world.dimension), exact=True)
    some = np.random.default_rng(3).choice(space.size, 4 * world.queries, replace=False)
    vectors, _ = rows(folder, [space.place(int(position)) for position in some], dimension=world.dimension)
    planted, around = true_nearest(folder, space, asked, vectors, of=some)
    crowded = sorted(range(len(some)), key=lambda k: -len(around[k]))[: world.queries]
    places = [space.place_of(int(some[k])) for k in crowded]
    return [
        Asked("planted", lambda search, k: search.nearest_to(asked[k], basis=world.basis), planted),
        Asked("in a crowd", lambda search, k: search.nearest(*places[k]), [around[k] for k in crowded]),
    ]


def true_nearest(
    folder: BankFolder, space: Space, asked: Vectors, stored: Vectors, *, of: npt.NDArray[np.int64]
) -> tuple[list[set[Place]], list[set[Place]]]:
    """The ten nearest at |cos| 0.5 or more to each vector asked, and to each stored one but itself."""
    scores, lost = exact_scores(folder, space, np.concatenate([asked, stored]))
    assert not lost
    scores[np.arange(len(asked), len(scores)), of] = -1
    nearest = []
    for row in scores:
        best = np.argpartition(row, -10)[-10:]
        nearest.append({space.place_of(int(position)) for position in best if row[position] >= 0.5})
    return nearest[: len(asked)], nearest[len(asked) :]


def forget_files(folder: Path) -> None:
    """Afterwards the operating system has to read bank files from the disk."""
    os.sync()
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(search: Search, asked: Asked, *, before: Callable[[], None] = lambda: None) -> str:
    """Milliseconds and recall as cells of a table."""
    taken, busy, found, there = [], [], 0, 0
    for k, true in enumerate(asked.truth):
        before()
        start, worked = time.perf_counter(), time.process_time()
        hits = asked.search(search, k).hits
        taken.append(1e3 * (time.perf_counter() - start))
        busy.append(1e3 * (time.process_time() - worked))
        found += len(true & {(hit.direction.bank, hit.direction.ordinal) for hit in hits})
        there += len(true)
    p50, p95, longest = np.quantile(taken, [0.5, 0.95, 1])
    recall = f"{found} of {there} ({found / max(there, 1):.4f})"
    return f"{p50:.0f} | {p95:.0f} | {longest:.0f} | {np.median(busy):.0f} | {recall}"


def report(url: str, banks: Path, world: World) -> None:
    """Print what a first search takes, and a row for each kind of query."""
    with Store.open(url, banks=str(banks)) as store:
        asked = kinds(store, world)
    with Store.open(url, banks=str(banks)) as store:
        before_mib, start, worked = resident_mib(), time.perf_counter(), time.process_time()
        asked[0].search(store.search, 0)
        taken, busy, mib = time.perf_counter() - start, time.process_time() - worked, resident_mib() - before_mib
        print(f"first search: {taken:.2f} s, {busy:.2f} s of processor time, {mib:.0f} MiB", flush=True)
        print(f"| queries | files | p50 ms | p95 | longest | processor ms | recall@10 |\n|{7 * ' --- |'}")
        for kind in asked:
            measure(store.search, kind)
            print(f"| {kind.name} | in memory | {measure(store.search, kind)} |", flush=True)
        some = replace(asked[0], truth=asked[0].truth[:20])
        on_disk = measure(store.search, some, before=lambda: forget_files(banks))
        print(f"| planted | on disk | {on_disk} |", flush=True)
        start = time.perf_counter()
        store.search.shared(store.audits(limit=1, model_glob=f"hf:org/{world.basis}-*").items[0].id)
        print(f"what an audit shares, 64 directions: {time.perf_counter() - start:.2f} s", flush=True)


def report_exact(url: str, banks: Path, world: World) -> None:
    """Print what a search takes that reads everything."""
    with Store.open(url, banks=str(banks)) as store:
        taken = []
        for query in world.asked[:20]:
            start = time.perf_counter()
            store.search.nearest_to(query, basis=world.basis, exact=True)
            taken.append(1e3 * (time.perf_counter() - start))
        p50, p95 = np.quantile(taken[1:], [0.5, 0.95])
        print(f"exact, {world.directions} x {world.dimension}: p50 {p50:.0f} ms, p95 {p95:.0f} ms", flush=True)


def resident_mib() -> float:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Fill what is not there, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--directions", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=4096)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--exact", action="store_true", help="read everything for each search")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    url, banks = f"sqlite:///{options.folder}/audits.db", options.folder / "banks"
    world = World(options.directions, options.dimension, options.queries)
    with Store.open(url, banks=str(banks), create=True) as store:
        if not store.audits(model_glob=f"hf:org/{world.basis}-*", limit=1).items:
            start = time.perf_counter()
            fill(store, world)
            print(f"filled in {time.perf_counter() - start:.0f} s", flush=True)
    (report_exact if options.exact else report)(url, banks, world)


if __name__ == "__main__":
    main()
