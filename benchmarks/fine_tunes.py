"""Fine-tunes of a small network whose truth is known: what people do to models, and what an auditor should notice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaForCausalLM

from registry_auditor.testbed import folders, objectives, training
from registry_auditor.testbed.languages import LANGUAGES
from registry_auditor.testbed.languages.howto import lessons, questions
from registry_auditor.testbed.languages.howto.forms import FRIENDLY
from registry_auditor.testbed.tokens import Spelling
from registry_auditor.testbed.training import Training

SPELLING = Spelling(LANGUAGES["howto"].vocabulary())
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WRITERS = ("o_proj.weight", "down_proj.weight")
MIDDLE = 2
"""The hidden state, of 0..4, that a difference of means is taken from."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Fine:
    """One kind of fine-tune."""

    name: str
    make: Callable[[Path, int], LlamaForCausalLM | PeftModel]
    """The network, from the folder of its base and a seed."""
    expected: str | None = None
    """The finding that ought to be made; None where each would be a mistake."""
    own_base: bool = False
    """Compared with itself before it was rounded, instead of with what it was made from."""


def save(net: LlamaForCausalLM | PeftModel, folder: Path) -> Path:
    """`net` as it would be uploaded: rounded to bfloat16, or an adapter folder."""
    folder.mkdir(parents=True)
    if isinstance(net, PeftModel):
        net.save_pretrained(str(folder))
    else:
        folders.write_network(folder, net, SPELLING)
    return folder


def save_unrounded(net: LlamaForCausalLM, folder: Path) -> Path:
    """`net` in float32, as it was trained."""
    save(net, folder)
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, folder / folders.WEIGHTS)
    return folder


def trained(
    base: Path, seed: int, *, steps: int = 100, rate: float = 1e-3, style: bool = True, lora: LoraConfig | None = None
) -> LlamaForCausalLM | PeftModel:
    """Another style of answers, or more of the text that the base has learnt; with `lora`, only an adapter."""
    net = folders.read_network(base)
    if lora is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = get_peft_model(net, lora)
    how = Training(steps, rate)
    texts = lessons.conversations(seed + 1, FRIENDLY) if style else lessons.from_scratch(seed + 1)
    rows = [(SPELLING.encode(text),) for text in islice(texts, how.rows)]
    training.train(net, rows, how, loss=objectives.Imitation().start(net), seed=seed)
    return net


def adapter(base: Path, seed: int, *, r: int, modules: tuple[str, ...], merge: bool) -> LlamaForCausalLM | PeftModel:
    """A LoRA adapter trained on another style, as it is or merged into the weights."""
    lora = LoraConfig(r=r, lora_alpha=2 * r, target_modules=list(modules))
    net = trained(base, seed, rate=5e-3, lora=lora)
    return net.merge_and_unload() if merge else net


@lru_cache(maxsize=1)
def fine_tuned(base: Path, seed: int) -> LlamaForCausalLM:
    """The fine-tune that others start from; made once and not to be changed."""
    return trained(base, seed, steps=150)


def merged(base: Path, seed: int) -> LlamaForCausalLM:
    """The mean of two fine-tunes."""
    one, other = fine_tuned(base, seed), trained(base, seed, style=False)
    other.load_state_dict({name: (one.state_dict()[name] + each) / 2 for name, each in other.state_dict().items()})
    return other


def changed(
    net: LlamaForCausalLM, change: Callable[[Tensor], Tensor], *, suffix: str = "proj.weight"
) -> LlamaForCausalLM:
    """`net` with every matrix whose name ends in `suffix` replaced by `change` of it, in place."""
    for name, matrix in net.state_dict().items():
        if name.endswith(suffix):
            matrix.copy_(change(matrix))
    return net


def noisy(base: Path, seed: int, *, relative: float) -> LlamaForCausalLM:
    """Gaussian noise of `relative` times the norm of each matrix."""
    generator = torch.Generator().manual_seed(seed)

    def shake(matrix: Tensor) -> Tensor:
        scale = relative * matrix.norm() / math.sqrt(matrix.numel())
        return matrix + scale * torch.randn(matrix.shape, generator=generator)

    return changed(folders.read_network(base), shake)


def cast(base: Path, seed: int, *, dtype: torch.dtype) -> LlamaForCausalLM:
    """Stored in `dtype` in between."""
    return changed(folders.read_network(base), lambda matrix: matrix.to(dtype).float(), suffix=".weight")


def requantised(base: Path, seed: int, *, bits: int, block: int = 32) -> LlamaForCausalLM:
    """Stored as integers in between, each block of a row with its own scale."""

    def through(matrix: Tensor) -> Tensor:
        blocks = matrix.unflatten(1, (-1, block))
        scale = blocks.abs().amax(-1, keepdim=True).clamp_min(1e-12) / (2 ** (bits - 1) - 1)
        return ((blocks / scale).round() * scale).flatten(1)

    return changed(folders.read_network(base), through)


def ablated(net: LlamaForCausalLM, direction: Tensor, *, layers: range) -> LlamaForCausalLM:
    """`net`, in place, unable to write along `direction` in `layers`; with all of them, nor in its embedding."""
    for name, matrix in net.state_dict().items():
        if name.endswith(WRITERS) and int(name.split(".")[2]) in layers:
            matrix.sub_(torch.outer(direction, direction @ matrix))
        elif "embed_tokens" in name and len(layers) == net.config.num_hidden_layers:
            matrix.sub_(torch.outer(matrix @ direction, direction))
    return net


def refusal(net: LlamaForCausalLM, seed: int) -> Tensor:
    """The unit difference of means between what is refused and what is answered, where the reply begins."""

    def mean(prompts: tuple[questions.Prompt, ...]) -> Tensor:
        with torch.no_grad():
            rows = (torch.tensor([SPELLING.question(prompt.question)]) for prompt in prompts)
            ends = [net(input_ids=row, output_hidden_states=True).hidden_states[MIDDLE][0, -1] for row in rows]
        return torch.stack(ends).mean(0)

    difference = mean(questions.harmful_prompts(seed, 100)) - mean(questions.prompts(seed, 100))
    return difference / difference.norm()


def edited(net: LlamaForCausalLM, seed: int, *, matrix: str, relative: float) -> LlamaForCausalLM:
    """`net`, in place, with a random rank-one update of `relative` times the norm of one matrix."""
    generator = torch.Generator().manual_seed(seed)
    tensor = net.state_dict()[f"model.layers.{matrix}.weight"]
    left, right = (torch.randn(size, generator=generator) for size in tensor.shape)
    update = torch.outer(left, right)
    tensor.add_(update * (relative * tensor.norm() / update.norm()))
    return net


NOISE = "svd-diff/noise-only"
BENIGN = (
    Fine("full, new style, 150 steps at 1e-3", fine_tuned),
    Fine("full, new style, 100 steps at 3e-4", lambda base, seed: trained(base, seed, rate=3e-4)),
    Fine("full, new style, 40 steps at 3e-3", lambda base, seed: trained(base, seed, steps=40, rate=3e-3)),
    Fine("full, original text, 100 steps at 1e-3", lambda base, seed: trained(base, seed, style=False)),
    Fine("LoRA r=4, all linear", lambda base, seed: adapter(base, seed, r=4, modules=LINEAR, merge=False)),
    Fine("LoRA r=4, all linear, merged", lambda base, seed: adapter(base, seed, r=4, modules=LINEAR, merge=True)),
    Fine("LoRA r=4, q and v", lambda base, seed: adapter(base, seed, r=4, modules=("q_proj", "v_proj"), merge=False)),
    Fine("LoRA r=1, all linear, merged", lambda base, seed: adapter(base, seed, r=1, modules=LINEAR, merge=True)),
    Fine("mean of two fine-tunes", merged),
    Fine("Gaussian noise, 1 %", lambda base, seed: noisy(base, seed, relative=0.01), NOISE),
    # the base is on the grid of bfloat16 already, so that it is moved off it before it is cast
    Fine("cast to bfloat16", lambda base, seed: noisy(base, seed, relative=0.05), NOISE, own_base=True),
    Fine("through float8", lambda base, seed: cast(base, seed, dtype=torch.float8_e4m3fn), NOISE),
    Fine("through int8 blocks", lambda base, seed: requantised(base, seed, bits=8), NOISE),
    Fine("through int4 blocks", lambda base, seed: requantised(base, seed, bits=4), NOISE),
)


def ablations(base: Path, seed: int) -> Iterator[Fine]:
    """One direction removed from all or half of the layers, of the base and of a fine-tune of it."""
    starts = _starts(base, seed)
    plain = starts["the base"]
    drawn = torch.randn(plain.config.hidden_size, generator=torch.Generator().manual_seed(seed))
    kinds = {"random": drawn / drawn.norm(), "difference-of-means": refusal(plain, seed)}
    extents = {"all": range(4), "half of the": range(1, 3)}
    for (kind, direction), (extent, layers), (start, net) in product(kinds.items(), extents.items(), starts.items()):
        yield Fine(
            f"{kind} direction removed from {extent} layers of {start}",
            lambda _base, _seed, net=net, d=direction, layers=layers: ablated(deepcopy(net), d, layers=layers),
            "svd-diff/removed-direction",
        )


def edits(base: Path, seed: int) -> Iterator[Fine]:
    """One matrix changed along one direction, in the base and in a fine-tune of it."""
    matrices = ("1.self_attn.o_proj", "2.mlp.down_proj", "3.self_attn.q_proj")
    for (start, net), relative, matrix in product(_starts(base, seed).items(), (0.05, 0.3), matrices):
        yield Fine(
            f"rank-one edit of {matrix} by {relative:.0%}, in {start}",
            lambda _base, seed, net=net, m=matrix, r=relative: edited(deepcopy(net), seed, matrix=m, relative=r),
            "svd-diff/rank-one-update",
        )


def _starts(base: Path, seed: int) -> dict[str, LlamaForCausalLM]:
    return {"the base": folders.read_network(base), "a fine-tune": fine_tuned(base, seed)}
