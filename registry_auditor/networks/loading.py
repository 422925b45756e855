"""Networks that run, from the folders of a model and its base."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from registry_auditor.errors import NotApplicable, WeightsError


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network with the tokenizer that it was tuned with."""

    net: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load(tuned: Path, base: Path | None = None, *, device: torch.device | str = "cpu") -> Loaded:
    """The network in the folder `tuned`, in float32 and ready to answer; of an adapter, `base` with the adapter merged.

    Code that came with a model is never run.

    Raises:
        NotApplicable: an adapter without its base, or an architecture that is not built in.
        WeightsError: weights or tokenizer cannot be read.
    """
    is_adapter = (tuned / "adapter_config.json").exists()
    if is_adapter and base is None:
        raise NotApplicable(f"{tuned}: is an adapter; pass the model that it adapts with --base")
    body = base if is_adapter and base is not None else tuned
    try:
        net = AutoModelForCausalLM.from_pretrained(
            body, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        )
        if is_adapter:
            net = _merged(net, tuned)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{body}: does not load as a causal language model: {_first_line(error)}") from error
    return Loaded(net.to(device).eval(), _tokenizer(tuned, base))


def _merged(net: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    from peft import PeftModel  # takes half a second, which most models need not pay

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of one library about how it uses the other
        merged: PreTrainedModel = PeftModel.from_pretrained(net, str(adapter)).merge_and_unload()
    return merged


def _tokenizer(tuned: Path, base: Path | None) -> PreTrainedTokenizerBase:
    homes = [home for home in (tuned, base) if home is not None and (home / "tokenizer_config.json").exists()]
    if not homes:
        raise NotApplicable(f"no tokenizer in {tuned}; put tokenizer.json and tokenizer_config.json there")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            homes[0], local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{homes[0]}: its tokenizer does not load: {_first_line(error)}") from error
    return tokenizer


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
