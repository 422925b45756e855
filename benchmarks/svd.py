"""The direction bank of a fine-tune against a full SVD of every matrix, and against just reading both files.

Builds a pair with the writing matrices of Llama-3.2-1B (16 layers of o_proj 2048 × 2048 and down_proj 2048 × 8192 in
bf16; each update is rank 16 and noise) and a LoRA adapter with the shapes of Llama-2-7B, then measures, in one run:

    python benchmarks/svd.py                              prints the tables
    python benchmarks/svd.py --write docs/benchmarks.md   and puts them into its section of that page

Everything is read through `open_snapshot`, `pair` and `Decomposer`, as an audit does; the page cache is warm.
"""

from __future__ import annotations

import argparse
import json
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
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from registry_auditor.domain import Side
from registry_auditor.methods.directions import Decomposer, MatrixUpdate
from registry_auditor.weights import Delta, open_snapshot, pair

SHAPES = {"self_attn.o_proj": (2048, 2048), "mlp.down_proj": (2048, 8192)}
WEIGHT_STD, NOISE_SHARE, RANK = 0.02, 0.002, 16
"""Each entry of the update is noise of this share of the weights; above it stand RANK directions, 10 to 2 times the
noise edge: gaps of 5 % and more between most neighbours, less between the last ones."""

ADAPTER_SHAPES = {
    **dict.fromkeys(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"), (4096, 4096)),
    **dict.fromkeys(("mlp.gate_proj", "mlp.up_proj"), (11008, 4096)),
    "mlp.down_proj": (4096, 11008),
}
ADAPTER_LAYERS, ADAPTER_RANK = 32, 16

DEFINED_GAP = 0.05
"""Both neighbours at least this share of the singular value away: then a direction is well enough defined to compare."""

BEGIN, END = "<!-- svd: written by benchmarks/svd.py -->", "<!-- svd: end -->"


@dataclass(frozen=True)
class Measured:
    """Seconds for all layers (the full SVD: extrapolated), MiB of anonymous memory, and the agreement."""

    bank_s: float
    naive_s: float
    blocked_s: float
    full_s: float
    bank_mib: float
    full_mib: float
    cosine: float
    compared: int
    directions: int
    worst_residual: float
    adapter_s: float
    adapter_directions: int


def main() -> None:
    """Build, measure, print, write."""
    options = _arguments()
    if options.memory_of:
        return _print_peak(options)
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
    return None


def build_pair(folder: Path, layers: int) -> None:
    """Two model folders, `base` and `tuned`, one shard a layer."""
    generator = torch.Generator().manual_seed(0)
    index: dict[str, str] = {}
    for name in ("base", "tuned"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps({"model_type": "llama"}))
    for layer in range(layers):
        shard = f"model-{layer + 1:05d}-of-{layers:05d}.safetensors"
        base = {_tensor(layer, role): _noise(shape, generator) for role, shape in SHAPES.items()}
        tuned = {name: (weight.float() + _update(weight.shape, generator)).bfloat16() for name, weight in base.items()}
        save_file(base, folder / "base" / shard)
        save_file(tuned, folder / "tuned" / shard)
        index |= dict.fromkeys(base, shard)
    for name in ("base", "tuned"):
        (folder / name / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def _tensor(layer: int, role: str) -> str:
    return f"model.layers.{layer}.{role}.weight"


def _noise(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator).mul_(WEIGHT_STD).bfloat16()


def _update(shape: torch.Size, generator: torch.Generator) -> Tensor:
    m, n = shape
    tau = WEIGHT_STD * NOISE_SHARE
    left, right = (torch.linalg.qr(torch.randn(size, RANK, generator=generator))[0] for size in (m, n))
    strengths = tau * (m**0.5 + n**0.5) * torch.logspace(1.0, 0.3, RANK)
    return torch.randn(m, n, generator=generator).mul_(tau).addmm_(left * strengths, right.T)


def build_adapter(folder: Path) -> None:
    """A LoRA adapter on all linear layers, as PEFT saves it."""
    generator = torch.Generator().manual_seed(1)
    tensors: dict[str, Tensor] = {}
    for layer in range(ADAPTER_LAYERS):
        for role, (m, n) in ADAPTER_SHAPES.items():
            stem = f"base_model.model.model.layers.{layer}.{role}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(ADAPTER_RANK, n, generator=generator) / n**0.5
            tensors[f"{stem}.lora_B.weight"] = torch.randn(m, ADAPTER_RANK, generator=generator) * 1e-3
    config = {"peft_type": "LORA", "r": ADAPTER_RANK, "lora_alpha": 32, "base_model_name_or_path": "llama-2-7b"}
    targets = sorted(role.rpartition(".")[2] for role in ADAPTER_SHAPES)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": targets}))


def measure(folder: Path, options: argparse.Namespace) -> Measured:
    """Every figure; the quick ones by turns, so that a busy moment of the machine meets all of them."""
    quick: dict[Callable[[Path], object], list[float]] = {naive_floor: [], blocked_floor: [], bank: [], adapter_bank: []}
    for _ in range(options.repeats + 1):  # the first turn fills the page cache
        for run, seconds in quick.items():
            seconds.append(_seconds(lambda run=run: run(folder)))  # type: ignore[misc]
    naive, blocked, whole, adapter = (median(seconds[1:]) for seconds in quick.values())
    updates = bank(folder)
    full_s, cosines = compare(folder, options.exact_layers)
    return Measured(
        bank_s=whole,
        naive_s=naive,
        blocked_s=blocked,
        full_s=full_s / options.exact_layers * options.layers,
        bank_mib=_peak_mib(folder, "bank", options),
        full_mib=_peak_mib(folder, "full", options),
        cosine=min(cosines),
        compared=len(cosines),
        directions=sum(len(update.directions) for update in updates),
        worst_residual=max(each.residual for update in updates for each in update.directions),
        adapter_s=adapter,
        adapter_directions=sum(len(update.directions) for update in adapter_bank(folder)),
    )


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
    return torch.linalg.svd(delta.tuned - delta.base, full_matrices=False)


def compare(folder: Path, layers: int) -> tuple[float, list[float]]:
    """Seconds of the full decomposition for some layers, and |cos| of each direction that the spectrum defines."""
    decomposer, total_s, cosines = Decomposer(), 0.0, []
    with _deltas(folder) as deltas:
        for delta in deltas[: layers * len(SHAPES)]:
            start = time.perf_counter()
            U, S, Vh = full(delta)
            total_s += time.perf_counter() - start
            exact = U.T if delta.site.side is Side.WRITES else Vh
            for direction in decomposer.measure(delta).directions:
                if _gap(S, direction.rank) >= DEFINED_GAP:
                    cosines.append(abs(float(exact[direction.rank] @ torch.from_numpy(direction.vector))))
    return total_s, cosines


def _gap(S: Tensor, rank: int) -> float:
    neighbours = [S[each] for each in (rank - 1, rank + 1) if each >= 0]
    return min(float((S[rank] - each).abs() / S[rank]) for each in neighbours)


@contextmanager
def _deltas(folder: Path) -> Iterator[tuple[Delta, ...]]:
    with open_snapshot(folder / "tuned") as tuned, open_snapshot(folder / "base") as base:
        yield pair(tuned, base).deltas


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


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
            full(deltas[1])  # a down_proj: the largest
    stop.set()
    watcher.join()
    print(peak[0] / 1024)


def _anonymous_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))


def _report(found: Measured, options: argparse.Namespace, load: tuple[float, float]) -> str:
    speedup, above_naive, above_blocked = (
        found.full_s / found.bank_s,
        found.bank_s / found.naive_s,
        found.bank_s / found.blocked_s,
    )
    rows = [
        ("faster than the full decomposition", f"{speedup:.0f}×", "≥ 40×", speedup >= 40),
        ("over reading both files and subtracting", f"{above_naive:.1f}×", "≤ 3×", above_naive <= 3),
        ("the same, over the quickest reading we know", f"{above_blocked:.1f}×", "", None),
        ("peak anonymous memory", f"{found.bank_mib:.0f} MiB", "≤ 1.2 GB", found.bank_mib * 2**20 <= 1.2e9),
        (f"smallest \\|cos\\| of {found.compared} directions", f"{found.cosine:.7f}", "≥ 0.9999", found.cosine >= 0.9999),
        ("7B LoRA adapter, whole bank", f"{found.adapter_s:.2f} s", "≤ 3 s", found.adapter_s <= 3),
    ]
    times = [
        ("direction bank", found.bank_s, found.bank_mib),
        (f"`torch.linalg.svd`, from {options.exact_layers} of {options.layers} layers", found.full_s, found.full_mib),
        ("read and subtract: `tuned.float() - base.float()`", found.naive_s, None),
        ("read and subtract: blocks of 1 MiB into one buffer", found.blocked_s, None),
        (f"7B LoRA adapter ({found.adapter_directions} directions)", found.adapter_s, None),
    ]
    return "\n".join(
        [
            f"{options.layers} layers of o_proj 2048 × 2048 and down_proj 2048 × 8192, bf16, update of rank {RANK} and "
            f"noise; LoRA adapter of Llama-2-7B, r = {ADAPTER_RANK}, all linear layers. torch {torch.__version__}, "
            f"{options.threads} threads of {os.cpu_count()} cores, load average {load[0]:.1f} before and {load[1]:.1f} "
            f"after, warm page cache, medians of {options.repeats}. {found.directions} directions, largest residual "
            f"{found.worst_residual:.1e}. |cos| is against the full SVD wherever both neighbouring singular values are "
            f"at least {DEFINED_GAP:.0%} away.",
            "",
            "| figure | measured | goal | met |",
            "| --- | --- | --- | --- |",
            *(f"| {name} | {value} | {goal} | {_word(met)} |" for name, value, goal, met in rows),
            "",
            "| all layers | seconds | peak anonymous MiB |",
            "| --- | --- | --- |",
            *(f"| {name} | {s:.2f} | {'' if mib is None else f'{mib:.0f}'} |" for name, s, mib in times),
        ]
    )


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
