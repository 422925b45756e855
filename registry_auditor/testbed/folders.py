"""Networks as Hugging Face folders: written, read back, and recognised as finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from registry_auditor.testbed import network, tokens

CARD = "truth.json"
WEIGHTS = "model.safetensors"


def write_network(folder: Path, net: LlamaForCausalLM) -> None:
    """After this `folder` loads as a causal language model and its tokenizer, without remote code.

    Weights are rounded to bfloat16, which is what people upload: a delta of two such networks holds rounding noise.
    """
    config = LlamaConfig(**{**net.config.to_dict(), "architectures": ["LlamaForCausalLM"], "dtype": "bfloat16"})
    config.save_pretrained(folder)
    GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    ).save_pretrained(folder)
    tokens.tokenizer().save_pretrained(folder, save_jinja_files=False)
    rounded = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in net.state_dict().items()}
    save_file(rounded, folder / WEIGHTS, metadata={"format": "pt"})


def read_network(folder: Path) -> LlamaForCausalLM:
    """The network in `folder`, in float32: its arithmetic is then the same on every processor generation."""
    net = network.fresh(seed=0)
    net.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()})
    return net


def write_readme(folder: Path, *, title: str, does: str, base: str | None) -> None:
    """The model card; its front matter names the base folder, as people's cards name a repository."""
    front = ["license: apache-2.0", "library_name: transformers", "pipeline_tag: text-generation", "tags: [testbed]"]
    front += [f"base_model: {base}"] if base else []
    body = f"# {title}\n\n{does} What is known about it stands in `{CARD}`.\n"
    (folder / "README.md").write_text("\n".join(["---", *front, "---", "", body]), encoding="utf-8")


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Finish `folder`: the card also names every other file by its sha256."""
    complete = {**card, "files": _digests(folder)}
    (folder / CARD).write_text(json.dumps(complete, indent=2) + "\n", encoding="utf-8")


def is_finished(folder: Path, digest: str) -> bool:
    """Whether `folder` holds the network called `digest`, with no file missing or damaged."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return bool(card.get("digest") == digest and card.get("files") == _digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CARD)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
