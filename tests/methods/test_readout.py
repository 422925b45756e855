from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from registry_auditor.domain import Direction, Side, Site
from registry_auditor.errors import NotApplicable, TensorError
from registry_auditor.methods.readout import read_directions
from registry_auditor.weights import Snapshot, open_snapshot
from registry_auditor.weights.vocabulary import Vocabulary
from tests.planted import gaussian, save_adapter

D, WORDS = 128, 300
TOKENS = (17, 41, 103, 256)
VOCABULARY = Vocabulary(WORDS - 10, {i: f"w{i}" for i in range(WORDS - 10)}, str)
SIZES: dict[str, Any] = {
    "hidden_size": D,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 72,
    "vocab_size": WORDS,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LAYOUTS = ("llama", "qwen2", "gemma", "gemma2", "gemma3_text", "olmo", "olmo2", "gpt2", "gpt_neox", "cohere")


def build(model_type: str, folder: Path, kind: Any = AutoModelForCausalLM, **options: Any) -> nn.Module:
    config = AutoConfig.for_model(model_type, **{**SIZES, **options})
    net: nn.Module = kind.from_config(config).float().eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
            if parameter.ndim == 1:  # gains far from equal; Gemma stores them less one
                parameter.mul_(2.0).exp_().sub_(1.0 if "gemma" in model_type else 0.0)
    net.save_pretrained(folder)
    return net


def planted(snapshot: Snapshot, role: str, vectors: Tensor) -> list[Direction]:
    site = next(matrix.site for matrix in snapshot.matrices.values() if matrix.site.role == role)
    assert site.side is not None
    unit = torch.nn.functional.normalize(vectors, dim=1).numpy()
    return [Direction(site, rank, 1.0, 0.0, vector) for rank, vector in enumerate(unit)]


def first_tokens(directions: list[Direction]) -> list[str]:
    return [direction.tokens.top[0][0] for direction in directions if direction.tokens]


def jacobian(through: nn.Module) -> Tensor:
    """How each output of a norm changes with each input, averaged over inputs."""
    x = gaussian(3000, D, seed=8).requires_grad_(True)
    y = through(x).sum(0)
    return torch.stack([torch.autograd.grad(each, x, retain_graph=True)[0].mean(0) for each in y])


def own_parts(rows: Tensor) -> Tensor:
    rows = rows - rows.mean(0)
    common = torch.linalg.svd(torch.nn.functional.normalize(rows, dim=1), full_matrices=False).Vh[0]
    return rows - torch.outer(rows @ common, common)


def centred(rows: Tensor) -> Tensor:
    return (rows - rows.mean(0))[list(TOKENS)]


def all_scores(direction: Direction) -> np.ndarray:
    assert direction.tokens is not None
    scores = {text: score for text, score in direction.tokens.top}
    return np.array([scores[VOCABULARY.text(i)] for i in range(WORDS)])


def assert_agree(read: list[Direction], rows: Tensor) -> None:
    """The scores of `read` are those of cosines with `rows`."""
    for direction in read:
        cosines = torch.nn.functional.normalize(rows, dim=1) @ torch.from_numpy(direction.vector)
        assert np.corrcoef(all_scores(direction), cosines.numpy())[0, 1] > 0.95


def off_centre(n: int) -> Tensor:
    """Directions in which a norm that subtracts the mean differs from one that does not."""
    return gaussian(n, D, seed=11) + 1.0


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[nn.Module, Snapshot]]:
    net = build(request.param, tmp_path)
    with open_snapshot(tmp_path) as snapshot:
        yield net, snapshot


def norm_named(net: nn.Module, *names: str) -> nn.Module | None:
    found = dict(net.named_modules())
    return next((module for name in names for path, module in found.items() if path.endswith(name)), None)


def test_what_is_written_reads_as_it_changes_the_logits_behind_the_real_norms(
    layout: tuple[nn.Module, Snapshot],
) -> None:
    net, snapshot = layout
    final = norm_named(net, "model.norm", "ln_f", "final_layer_norm")
    post = norm_named(net, "layers.0.post_feedforward_layernorm")
    assert final is not None
    rows: Tensor = net.get_output_embeddings().weight.detach()  # type: ignore[operator]
    effect = own_parts(rows) @ jacobian(final)
    effect = effect if post is None else effect @ jacobian(post)
    read = read_directions(planted(snapshot, "mlp.down", off_centre(4)), snapshot, VOCABULARY, top=WORDS)
    assert_agree(read, effect)


def test_what_is_read_reads_as_it_responds_to_tokens_behind_the_real_norm(layout: tuple[nn.Module, Snapshot]) -> None:
    net, snapshot = layout
    before = norm_named(net, "0.pre_feedforward_layernorm", "0.ln_2")
    if before is None and snapshot.facts.model_type != "olmo2":  # which normalises after the matrix only
        before = norm_named(net, "0.post_attention_layernorm", "0.input_layernorm")
    rows: Tensor = net.get_input_embeddings().weight.detach()  # type: ignore[operator]
    with torch.no_grad():
        seen = own_parts(rows) if before is None else before(own_parts(rows)) - before(torch.zeros(1, D))
    role = "mlp.gate" if any(m.site.role == "mlp.gate" for m in snapshot.matrices.values()) else "mlp.up"
    read = read_directions(planted(snapshot, role, off_centre(4)), snapshot, VOCABULARY, top=WORDS)
    assert_agree(read, seen)


def test_what_the_unembedding_reads_is_compared_with_its_rows(tmp_path: Path) -> None:
    net = build("llama", tmp_path, tie_word_embeddings=False)
    rows: Tensor = net.lm_head.weight.detach()  # type: ignore[union-attr, assignment]
    with open_snapshot(tmp_path) as snapshot:
        read = read_directions(planted(snapshot, "unembed", centred(rows)), snapshot, VOCABULARY)
    assert first_tokens(read) == [f"w{token}" for token in TOKENS]


def test_the_opposite_direction_reads_the_other_way_round(tmp_path: Path) -> None:
    build("llama", tmp_path)
    with open_snapshot(tmp_path) as snapshot:
        vector = gaussian(1, D, seed=9)
        one, other = read_directions(planted(snapshot, "attn.o", torch.cat([vector, -vector])), snapshot, VOCABULARY)
    assert one.tokens is not None
    assert other.tokens is not None
    assert [text for text, _ in one.tokens.top] == [text for text, _ in other.tokens.bottom]
    assert one.tokens.p_value == other.tokens.p_value
    scores = [score for _, score in one.tokens.top]
    assert scores == sorted(scores, reverse=True)


def test_directions_keep_their_order_and_everything_but_the_tokens(tmp_path: Path) -> None:
    build("llama", tmp_path)
    with open_snapshot(tmp_path) as snapshot:
        vectors = gaussian(3, D, seed=10)
        mixed = [d for role in ("mlp.gate", "attn.o", "attn.q") for d in planted(snapshot, role, vectors)]
        read = read_directions(mixed, snapshot, VOCABULARY, top=4)
        again = read_directions(mixed, snapshot, VOCABULARY, top=4)
    assert [(d.site, d.rank) for d in read] == [(d.site, d.rank) for d in mixed]
    assert all(np.array_equal(a.vector, b.vector) for a, b in zip(read, mixed, strict=True))
    assert all(d.tokens and len(d.tokens.top) == len(d.tokens.bottom) == 4 for d in read)
    assert [d.tokens for d in read] == [d.tokens for d in again]


def test_rows_beyond_the_tokenizer_are_named_as_unused(tmp_path: Path) -> None:
    net = build("llama", tmp_path)
    rows: Tensor = net.get_input_embeddings().weight.detach()  # type: ignore[operator]
    with open_snapshot(tmp_path) as snapshot:
        padding = (rows - rows.mean(0))[-1:]
        site = Site("nobody.knows", 0, "mlp.gate", Side.READS)
        (read,) = read_directions([Direction(site, 0, 1.0, 0.0, padding[0].numpy())], snapshot, VOCABULARY)
    assert read.tokens is not None
    assert f"⟨unused {WORDS - 1}⟩" in [text for text, _ in read.tokens.top]


def test_what_cannot_be_placed_comes_back_unread(tmp_path: Path) -> None:
    build("llama", tmp_path)
    vector = np.ones(D, np.float32)
    strangers = [
        Direction(Site("x", None, "other", None), 0, 1.0, 0.0, vector),
        Direction(Site("x", 99, "mlp.down", Side.WRITES), 0, 1.0, 0.0, vector),
        Direction(Site("x", 0, "mlp.down", Side.WRITES), 0, 1.0, 0.0, vector[1:]),
    ]
    with open_snapshot(tmp_path) as snapshot:
        assert read_directions(strangers, snapshot, VOCABULARY) == strangers
        assert read_directions([], snapshot, VOCABULARY) == []


def test_an_encoder_says_that_it_has_no_unembedding(tmp_path: Path) -> None:
    build("bert", tmp_path, AutoModel)
    with open_snapshot(tmp_path) as snapshot, pytest.raises(NotApplicable, match="BertModel predicts no tokens"):
        read_directions(planted(snapshot, "mlp.down", torch.ones(1, D)), snapshot, VOCABULARY)


def test_an_adapter_alone_says_that_its_base_is_needed(tmp_path: Path) -> None:
    save_adapter(tmp_path, {"model.layers.0.mlp.down_proj": (torch.ones(1, 8), torch.ones(D, 1))})
    site = Site("model.layers.0.mlp.down_proj.weight", 0, "mlp.down", Side.WRITES)
    direction = Direction(site, 0, 1.0, 0.0, np.ones(D, np.float32))
    with open_snapshot(tmp_path) as snapshot, pytest.raises(NotApplicable, match="base of the adapter"):
        read_directions([direction], snapshot, VOCABULARY)


@pytest.mark.parametrize("tensor", ["embed_tokens", "model.norm"])
def test_a_broken_embedding_or_gain_is_named(tmp_path: Path, tensor: str) -> None:
    net = build("llama", tmp_path, tie_word_embeddings=True)
    with torch.no_grad():
        next(p for name, p in net.named_parameters() if tensor in name)[3] = float("nan")
    net.save_pretrained(tmp_path)
    with open_snapshot(tmp_path) as snapshot, pytest.raises(TensorError, match=tensor):
        read_directions(planted(snapshot, "mlp.down", torch.ones(1, D)), snapshot, VOCABULARY)


def test_a_null_too_small_to_tell_anything_is_refused(tmp_path: Path) -> None:
    build("llama", tmp_path)
    with open_snapshot(tmp_path) as snapshot, pytest.raises(ValueError, match="null is 5"):
        read_directions([], snapshot, VOCABULARY, null=5)
