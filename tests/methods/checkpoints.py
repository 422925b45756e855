"""A checkpoint of one layer, and what it becomes by an update that is known."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from registry_auditor.methods.directions import Decomposer, MatrixUpdate
from registry_auditor.weights import Delta, open_snapshot, pair
from tests.planted import WEIGHTS, gaussian

D, HIDDEN, WORDS = 160, 320, 700
Weights = dict[str, Tensor]


def low_rank(m: int, n: int, rank: int, *, seed: int = 0) -> Tensor:
    """Singular values around √(m n) · √rank, far above noise of unit entries."""
    return gaussian(m, rank, seed=seed) @ gaussian(rank, n, seed=seed + 1)


def llama(dtype: torch.dtype = torch.float32, scale: float = 0.02) -> Weights:
    """One layer, as a checkpoint names it."""
    shapes = {
        "model.embed_tokens.weight": (WORDS, D),
        "model.layers.0.self_attn.q_proj.weight": (D, D),
        "model.layers.0.self_attn.v_proj.weight": (D // 2, D),
        "model.layers.0.self_attn.o_proj.weight": (D, D),
        "model.layers.0.mlp.up_proj.weight": (HIDDEN, D),
        "model.layers.0.mlp.down_proj.weight": (D, HIDDEN),
    }
    weights = {name: (gaussian(*shape, seed=i).double() * scale) for i, (name, shape) in enumerate(shapes.items())}
    weights["model.norm.weight"] = 1 + 0.1 * gaussian(D, seed=99).double()
    return {name: weight.to(dtype) for name, weight in weights.items()}


def folder(path: Path, weights: Weights, config: dict[str, object] | None = None) -> Path:
    """A model of these weights, as it is uploaded; a Llama unless `config` says something else."""
    path.mkdir()
    save_file({name: weight.contiguous() for name, weight in weights.items()}, path / WEIGHTS)
    (path / "config.json").write_text(json.dumps(config or {"model_type": "llama", "tie_word_embeddings": False}))
    return path


@contextmanager
def deltas(root: Path, base: Weights, tuned: Weights, config: dict[str, object] | None = None) -> Iterator[list[Delta]]:
    """What changed between the two, read from files in `root` as long as the context lasts."""
    paths = [folder(root / name, weights, config) for name, weights in (("base", base), ("tuned", tuned))]
    with open_snapshot(paths[0]) as one, open_snapshot(paths[1]) as other:
        yield list(pair(other, one).deltas)


def measured(
    root: Path, base: Weights, tuned: Weights, config: dict[str, object] | None = None
) -> dict[str, MatrixUpdate]:
    """The update of every tensor, by its name."""
    decomposer = Decomposer(k=20)
    with deltas(root, base, tuned, config) as found:
        return {delta.site.tensor: decomposer.measure(delta) for delta in found}


def changed(base: Weights, rank: int, size: float = 1e-4, noise: float = 1e-5) -> Weights:
    """Every matrix plus a low-rank update and noise, stored in the dtype of the base."""
    tuned = dict(base)
    for i, (name, weight) in enumerate(base.items()):
        if weight.ndim == 2:
            content, rest = low_rank(*weight.shape, rank, seed=50 + i), gaussian(*weight.shape, seed=80 + i)
            tuned[name] = (weight.double() + size * content.double() + noise * rest.double()).to(weight.dtype)
    return tuned
