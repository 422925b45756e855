"""The direction bank of a fine-tune against a full SVD of every matrix, and against just reading both files.

Builds the models of `large_models.py` and measures, in one run:

    python benchmarks/svd.py                              prints the tables
    python benchmarks/svd.py --write docs/benchmarks.md   and puts them into its section of that page

Everything is read through `open_snapshot`, `pair` and `Decomposer`, as an audit does; the page cache is warm.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from large_models import ADAPTER_RANK, RANK, SHAPES, build_adapter, build_pair
from safetensors import safe_open
from torch import Tensor

from registry_auditor.domain import Side
from registry_auditor.methods.directions import Decomposer, MatrixUpdate
from registry_auditor.weights import Delta, open_snapshot, pair

DEFINED_GAP = 0.05
"""Both neighbours at least this share of the singular value away: then a direction is defined well enough."""

BEGIN, END = "<!-- svd: written by benchmarks/svd.py -->", "<!-- svd: end -->"


@dataclass(frozen=True)
class Spent:
    """Time for all layers: on the wall, and of all processors, which a busy machine distorts less."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Measured:
    """Times (the full SVD: extrapolated), MiB of anonymous memory, and the agreement."""

    bank: Spent
    naive: Spent
    blocked: Spent
    full: Spent
    adapter: Spent
    bank_mib: float
    full_mib: float
    cosine: float
    compared: int
    directions: int
    worst_residual: float
    adapter_directions: int


def main() -> None:
    """Build, measure, print, write."""
    options = _arguments()
    if options.memory_of:
        _print_peak(options)
        return
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        folder = Path(root)
        build_pair(folder, options.layers)
        build_adapter(folder / "adapter")
        before = os.getloadavg()[0]
        measured = measure(folder, options)
    report = _report(measured, options, (before, os.getloadavg()[0]))
    print(report)
    if options.write:
        _write(options.write, report)


def measure(folder: Path, options: argparse.Namespace) -> Measured:
    """Every figure; the quick ones by turns, so that a busy moment of the machine meets all of them."""
    runs: tuple[Callable[[Path], object], ...] = (naive_floor, blocked_floor, bank, adapter_bank)
    turns: list[list[Spent]] = [[] for _ in runs]
    for _ in range(options.repeats + 1):  # the first turn fills the page cache
        for run, spent in zip(runs, turns, strict=True):
            spent.append(timed(run, folder))
    naive, blocked, whole, adapter = (
        Spent(median(each.wall_s for each in spent[1:]), median(each.cpu_s for each in spent[1:])) for spent in turns
    )
    updates = bank(folder)
    full_time, cosines = compare(folder, options.exact_layers)
    share = options.layers / options.exact_layers
    return Measured(
        bank=whole,
        naive=naive,
        blocked=blocked,
        full=Spent(full_time.wall_s * share, full_time.cpu_s * share),
        adapter=adapter,
        bank_mib=_peak_mib(folder, "bank", options),
        full_mib=_peak_mib(folder, "full", options),
        cosine=min(cosines),
        compared=len(cosines),
        directions=sum(len(update.directions) for update in updates),
        worst_residual=max(each.residual for update in updates for each in update.directions),
        adapter_directions=sum(len(update.directions) for update in adapter_bank(folder)),
    )


def timed(run: Callable[[Path], object], folder: Path) -> Spent:
    """What one call of `run` takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    run(folder)
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def bank(folder: Path) -> list[MatrixUpdate]:
    """Every direction of the pair, from two paths."""
    decomposer = Decomposer()
    with _deltas(folder) as deltas:
        return [decomposer.measure(delta) for delta in deltas]


def adapter_bank(folder: Path) -> list[MatrixUpdate]:
    """Every direction of the adapter, without its base."""
    decomposer = Decomposer()
    with open_snapshot(folder / "adapter") as adapter:
        return [decomposer.measure(delta) for delta in pair(adapter, None).deltas]


def naive_floor(folder: Path) -> None:
    """Read both files and subtract, as anybody would."""
    with ExitStack() as stack:
        for shard in sorted(path.name for path in (folder / "base").glob("*.safetensors")):
            base, tuned = (
                stack.enter_context(safe_open(folder / name / shard, framework="pt")) for name in ("base", "tuned")
            )
            for name in base.keys():  # noqa: SIM118  a safetensors file is no dictionary
                _ = tuned.get_tensor(name).float() - base.get_tensor(name).float()


def blocked_floor(folder: Path) -> None:
    """The same in cache-sized blocks and one piece of memory: the quickest way known to us."""
    held = torch.empty(max(m * n for m, n in SHAPES.values()))
    with _deltas(folder) as deltas:
        for delta in deltas:
            position = 0
            for base, tuned in delta.blocks(2**20):
                block = held[position : position + base.numel()].view(base.shape)
                block.copy_(tuned).sub_(base)
                position += base.numel()


def full(delta: Delta) -> tuple[Tensor, Tensor, Tensor]:
    """What a user would write instead."""
    U, S, Vh = torch.linalg.svd(delta.tuned - delta.base, full_matrices=False)
    return U, S, Vh


def compare(folder: Path, layers: int) -> tuple[Spent, list[float]]:
    """What the full decomposition of some layers takes, and |cos| of each direction that the spectrum defines."""
    decomposer, cosines = Decomposer(), []
    wall_s = cpu_s = 0.0
    with _deltas(folder) as deltas:
        for delta in deltas[: layers * len(SHAPES)]:
            wall, cpu = time.perf_counter(), time.process_time()
            U, S, Vh = full(delta)
            wall_s, cpu_s = wall_s + time.perf_counter() - wall, cpu_s + time.process_time() - cpu
            exact = U.T if delta.site.side is Side.WRITES else Vh
            for direction in decomposer.measure(delta).directions:
                if _gap(S, direction.rank) >= DEFINED_GAP:
                    cosines.append(abs(float(exact[direction.rank] @ torch.from_numpy(direction.vector))))
    return Spent(wall_s, cpu_s), cosines


def _gap(S: Tensor, rank: int) -> float:
    neighbours = [S[each] for each in (rank - 1, rank + 1) if each >= 0]
    return min(float((S[rank] - each).abs() / S[rank]) for each in neighbours)


@contextmanager
def _deltas(folder: Path) -> Iterator[tuple[Delta, ...]]:
    with open_snapshot(folder / "tuned") as tuned, open_snapshot(folder / "base") as base:
        yield pair(tuned, base).deltas


def _peak_mib(folder: Path, what: str, options: argparse.Namespace) -> float:
    """Peak anonymous memory of a process that does only this; mapped file pages belong to the page cache."""
    command = [sys.executable, __file__, "--memory-of", what, "--folder", str(folder)]
    done = subprocess.run([*command, "--threads", str(options.threads)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _print_peak(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.002):
            peak[0] = max(peak[0], _anonymous_kib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    if options.memory_of == "bank":
        bank(options.folder)
    else:
        with _deltas(options.folder) as deltas:
            full(max(deltas, key=lambda delta: delta.shape))
    stop.set()
    watcher.join()
    print(peak[0] / 1024)


def _anonymous_kib() -> int:
    _, _, rest = Path("/proc/self/status").read_text().partition("RssAnon:")
    return int(rest.split()[0])


def _report(found: Measured, options: argparse.Namespace, load: tuple[float, float]) -> str:
    return "\n".join(
        [
            f"{options.layers} layers of o_proj 2048 × 2048 and down_proj 2048 × 8192, bf16, update of rank {RANK} and "
            f"noise; LoRA adapter of Llama-2-7B, r = {ADAPTER_RANK}, all linear layers. torch {torch.__version__}, "
            f"{options.threads} threads of {os.cpu_count()} cores, load average {load[0]:.1f} before and {load[1]:.1f} "
            f"after, warm page cache, medians of {options.repeats}. {found.directions} directions, largest residual "
            f"{found.worst_residual:.1e}. |cos| is against the full SVD wherever both neighbouring singular values are "
            f"at least {DEFINED_GAP:.0%} away.",
            "",
            "| figure | measured | of processor time | goal | met |",
            "| --- | --- | --- | --- | --- |",
            *_goals(found),
            "",
            "| all layers | seconds | processor seconds | peak anonymous MiB |",
            "| --- | --- | --- | --- |",
            *_times(found, options),
        ]
    )


def _goals(found: Measured) -> Iterator[str]:
    ratios = (
        ("faster than the full decomposition", found.full, found.bank, "≥ 40×"),
        ("over reading both files and subtracting", found.bank, found.naive, "≤ 3×"),
        ("the same, over the quickest reading we know", found.bank, found.blocked, ""),
    )
    for name, over, under, goal in ratios:
        wall, cpu = over.wall_s / under.wall_s, over.cpu_s / under.cpu_s
        met = {"≥ 40×": wall >= 40, "≤ 3×": wall <= 3}.get(goal)
        yield f"| {name} | {wall:.1f}× | {cpu:.1f}× | {goal} | {_word(met)} |"
    fits = found.bank_mib * 2**20 <= 1.2e9
    yield f"| peak anonymous memory | {found.bank_mib:.0f} MiB | | ≤ 1.2 GB | {_word(fits)} |"
    close = found.cosine >= 0.9999
    yield f"| smallest \\|cos\\| of {found.compared} directions | {found.cosine:.7f} | | ≥ 0.9999 | {_word(close)} |"
    adapter, quick = found.adapter, found.adapter.wall_s <= 3
    yield f"| 7B LoRA adapter, whole bank | {adapter.wall_s:.2f} s | {adapter.cpu_s:.2f} s | ≤ 3 s | {_word(quick)} |"


def _times(found: Measured, options: argparse.Namespace) -> Iterator[str]:
    full = f"`torch.linalg.svd`, from {options.exact_layers} of {options.layers} layers"
    rows: tuple[tuple[str, Spent, float | None], ...] = (
        ("direction bank", found.bank, found.bank_mib),
        (full, found.full, found.full_mib),
        ("read and subtract: `tuned.float() - base.float()`", found.naive, None),
        ("read and subtract: blocks of 1 MiB into one buffer", found.blocked, None),
        (f"7B LoRA adapter ({found.adapter_directions} directions)", found.adapter, None),
    )
    for name, spent, mib in rows:
        yield f"| {name} | {spent.wall_s:.2f} | {spent.cpu_s:.2f} | {'' if mib is None else f'{mib:.0f}'} |"


def _word(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "**no**"


def _write(page: Path, report: str) -> None:
    text = page.read_text() if page.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{report}\n{END}{tail}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--exact-layers", type=int, default=2, help="layers that the full decomposition is timed on")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, help="where to build the models (1.5 GB); the system's own by default")
    parser.add_argument("--write", type=Path, help="the page whose section is replaced")
    parser.add_argument("--memory-of", choices=("bank", "full"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
