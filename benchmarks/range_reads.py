"""How much of a model on the Hub travels for an audit: bytes sent ÷ bytes of the checkpoints.

    python benchmarks/range_reads.py

A model of Llama's shapes in bf16 and fine-tunes of it lie on a small Hub on loopback, which counts what it sends:
lists, configurations, tokenizers, headers and tensors. Each audit is the whole command in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # the small Hub lives with the tests
from tests.registries.hub_server import HubServer

D, FFN, WORDS, RANK = 1024, 2816, 32_000, 16
SHAPES = {
    **dict.fromkeys(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"), (D, D)),
    **dict.fromkeys(("mlp.gate_proj", "mlp.up_proj"), (FFN, D)),
    "mlp.down_proj": (D, FFN),
}
WEIGHT_STD = 0.02
LAST = "model-00004-of-00004.safetensors"
BOTH = ("svd-diff", "token-projection")
Shards = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Row:
    """One audit: what it is called, of which model, with a cache of which age."""

    title: str
    model: str
    analyzers: Sequence[str] = BOTH
    cache: str = "cold"
    """Audits with the same cache follow one another in it."""


ROWS = (
    Row("LoRA adapter, token-projection alone", "adapter", ("token-projection",), "a"),
    Row("LoRA adapter, svd-diff and token-projection", "adapter", cache="b"),
    Row("another adapter of the same base, afterwards", "adapter-2", cache="b"),
    Row("full fine-tune", "tuned", cache="c"),
    Row("another full fine-tune of the same base, afterwards", "tuned-2", cache="c"),
    Row("full fine-tune that leaves the shard of the unembedding as it is", "partly", cache="d"),
    Row("the same audit on another database", "partly", cache="d"),
)


def main() -> None:
    """Build, audit, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layers", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, HubServer(Path(scratch) / "store") as hub:
        folder = Path(scratch)
        sizes = publish(hub, folder / "models", options.layers)
        print("| audit | checkpoints | sent | ÷ checkpoints | requests | seconds |")
        print("| --- | --- | --- | --- | --- | --- |")
        for row in ROWS:
            hub.forget()
            started = time.monotonic()
            audit(hub, row, folder / "caches" / row.cache)
            seconds, checkpoints = time.monotonic() - started, sizes["base"] + sizes[row.model]
            share = hub.bytes_sent / checkpoints
            told = f"{checkpoints / 1e6:.0f} MB | {hub.bytes_sent / 1e6:.1f} MB | **{share:.1%}**"
            print(f"| {row.title} | {told} | {len(hub.requests)} | {seconds:.0f} |", flush=True)


def publish(hub: HubServer, folder: Path, layers: int) -> dict[str, int]:
    """Everything that is audited, pushed to the Hub; the bytes of the weights of each."""
    generator = torch.Generator().manual_seed(0)
    base = _write(folder / "base", _shards(layers, generator))
    _describe(base)
    _fine_tune(base, folder / "tuned", seed=1)
    _fine_tune(base, folder / "tuned-2", seed=2)
    _fine_tune(base, folder / "partly", leaves=(LAST,), seed=3)
    _adapter(folder / "adapter", layers, seed=4)
    _adapter(folder / "adapter-2", layers, seed=5)
    sizes = {}
    for model in sorted(folder.iterdir()):
        hub.push(f"org/{model.name}", model)
        sizes[model.name] = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    return sizes


def audit(hub: HubServer, row: Row, cache: Path) -> None:
    """The whole command, with nothing of the user's; what was fetched before lies in `cache`."""
    home = cache.with_name(f"{cache.name}-home")
    environment = {**os.environ, **hub.environment(home), "XDG_DATA_HOME": str(cache), "XDG_CONFIG_HOME": str(home)}
    chosen = [option for name in row.analyzers for option in ("--analyzer", name)]
    command = [sys.executable, "-m", "registry_auditor", "audit", f"hf:org/{row.model}", "--base", "hf:org/base"]
    with tempfile.TemporaryDirectory() as database:
        command += [*chosen, "--db", f"sqlite:///{database}/auditor.db", "--format", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout) if done.stdout else {"runs": []}
    if {run["status"] for run in report["runs"]} != {"ok"} or len(report["runs"]) != len(row.analyzers):
        raise SystemExit(f"{row.title}: {[run['reason'] for run in report['runs']]}\n{done.stderr}")


def _shards(layers: int, generator: torch.Generator) -> Shards:
    shards: Shards = {f"model-{number + 1:05}-of-00004.safetensors": {} for number in range(4)}
    first, *middle, last = shards.values()
    first["model.embed_tokens.weight"] = _noise((WORDS, D), generator)
    for layer in range(layers):
        home = (first, *middle)[layer * 3 // layers]
        for role, shape in SHAPES.items():
            home[f"model.layers.{layer}.{role}.weight"] = _noise(shape, generator)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            home[f"model.layers.{layer}.{norm}.weight"] = torch.ones(D, dtype=torch.bfloat16)
    last["model.norm.weight"] = torch.ones(D, dtype=torch.bfloat16)
    last["lm_head.weight"] = _noise((WORDS, D), generator)
    return shards


def _noise(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator).mul_(WEIGHT_STD).bfloat16()


def _write(folder: Path, shards: Shards) -> Path:
    folder.mkdir(parents=True)
    for name, tensors in shards.items():
        save_file(tensors, folder / name, metadata={"format": "pt"})
    index = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


def _describe(folder: Path) -> None:
    config = {"model_type": "llama", "hidden_size": D, "num_attention_heads": 16, "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    words = {f"word{number}": number for number in range(WORDS)}
    Tokenizer(models.WordLevel(words, unk_token="word0")).save(str(folder / "tokenizer.json"))


def _fine_tune(base: Path, folder: Path, *, seed: int, leaves: Sequence[str] = ()) -> None:
    """Each matrix gets an update of rank 16, save those in the shards that it `leaves`."""
    generator = torch.Generator().manual_seed(seed)
    shutil.copytree(base, folder)
    for path in (each for each in sorted(folder.glob("*.safetensors")) if each.name not in leaves):
        tensors = load_file(path)
        for name in (each for each in tensors if not each.endswith("norm.weight")):
            rows, columns = tensors[name].shape
            left = torch.randn(rows, RANK, generator=generator).mul_(WEIGHT_STD / RANK)
            right = torch.randn(RANK, columns, generator=generator)
            tensors[name] = torch.addmm(tensors[name].float(), left, right).bfloat16()
        save_file(tensors, path, metadata={"format": "pt"})


def _adapter(folder: Path, layers: int, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    folder.mkdir()
    factors = {}
    for layer in range(layers):
        for role, (d_out, d_in) in SHAPES.items():
            name = f"base_model.model.model.layers.{layer}.{role}"
            factors[f"{name}.lora_A.weight"] = torch.randn(RANK, d_in, generator=generator).mul_(0.02)
            factors[f"{name}.lora_B.weight"] = torch.randn(d_out, RANK, generator=generator).mul_(0.02)
    save_file(factors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "base_model_name_or_path": "org/base"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
