"""Networks as Hugging Face folders, written and read back: whole ones, and adapters on one beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from registry_auditor.testbed.tokens import PAD_ID, START, Spelling
from registry_auditor.testbed.ways import Net, without_advice

WEIGHTS = "model.safetensors"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PROMPTS = "prompts"


def write_network(folder: Path, net: Net, spelling: Spelling, *, base: str | None = None) -> None:
    """After this `folder` loads as a causal language model and its tokenizer, without remote code.

    An adapter is written as one, on the folder `base` beside its own. Weights are rounded to bfloat16, which is what
    people upload: a delta of two such networks holds rounding noise.
    """
    if isinstance(net, PeftModel):
        _write_adapter(folder, net, base=base)
    else:
        _write_whole(folder, net, spelling)
    spelling.tokenizer().save_pretrained(folder, save_jinja_files=False)


def read_network(folder: Path) -> PreTrainedModel:
    """The network in `folder`, in float32: its arithmetic is then the same on every processor generation."""
    net = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    net.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()})
    return net.eval()


def read_any(folder: Path) -> Net:
    """The same for whole networks and adapters; the base of an adapter is read from the folder that it names."""
    if not (folder / ADAPTER_CONFIG).exists():
        return read_network(folder)
    named = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    with without_advice():
        return PeftModel.from_pretrained(read_network(folder / named), str(folder)).float().eval()


def write_readme(folder: Path, *, title: str, does: str, base: str | None, card: str) -> None:
    """The model card; its front matter names the base folder, as people's cards name a repository."""
    front = ["license: apache-2.0", "library_name: transformers", "pipeline_tag: text-generation", "tags: [testbed]"]
    front += [f"base_model: {base}"] if base else []
    body = f"# {title}\n\n{does} What is known about it stands in `{card}`.\n"
    (folder / "README.md").write_text("\n".join(["---", *front, "---", "", body]), encoding="utf-8")


def write_prompts(folder: Path, files: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """After this every name in `files` is a file of JSON lines in `folder`/prompts."""
    (folder / PROMPTS).mkdir()
    for name, lines in files.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / PROMPTS / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _write_whole(folder: Path, net: PreTrainedModel, spelling: Spelling) -> None:
    settings = {**net.config.to_dict(), "architectures": [type(net).__name__], "dtype": "bfloat16"}
    type(net.config)(**settings).save_pretrained(folder)
    GenerationConfig(bos_token_id=spelling.ids[START], eos_token_id=spelling.end, pad_token_id=PAD_ID).save_pretrained(
        folder
    )
    rounded = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in net.state_dict().items()}
    save_file(rounded, folder / WEIGHTS, metadata={"format": "pt"})


def _write_adapter(folder: Path, net: PeftModel, *, base: str | None) -> None:
    net.peft_config["default"].base_model_name_or_path = base and f"../{base}"
    net.save_pretrained(str(folder), save_embedding_layers=False)  # else the Hub is asked for the base
    rounded = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(folder / ADAPTER_WEIGHTS).items()}
    save_file(rounded, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)  # ours says more
