"""Two snapshots side by side: what changed, what did not, and what cannot be compared."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from registry_auditor.errors import TensorError, WeightsError
from registry_auditor.weights import Pairing, open_snapshot, pair

LLAMA: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8}
O_PROJ = "model.layers.1.self_attn.o_proj.weight"
EMBED = "model.embed_tokens.weight"
MIB = 2**20


@pytest.fixture
def base(tmp_path: Path, net_of: Callable[..., nn.Module], saved: Callable[..., Path]) -> Path:
    return saved(net_of("llama", **LLAMA), tmp_path / "base")


def edited(base: Path, change: Callable[[dict[str, Tensor]], Any], **config: Any) -> Path:
    """A copy of `base` after `change`; further arguments go to its configuration."""
    folder = base.parent / "tuned"
    folder.mkdir(exist_ok=True)
    tensors = load_file(base / "model.safetensors")
    change(tensors)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")
    settings = json.loads((base / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, **config}))
    return folder


@contextmanager
def paired(tuned: Path, base: Path) -> Iterator[Pairing]:
    with open_snapshot(tuned) as left, open_snapshot(base) as right:
        yield pair(left, right)


def test_a_model_is_identical_to_itself(base: Path) -> None:
    with paired(base, base) as found:
        assert len(found.deltas) == 2 * 9 + 3
        assert all(delta.identical and delta.has_base and delta.factors is None for delta in found.deltas)
        assert (found.gaps, found.added, found.removed) == ((), (), ())


def test_one_changed_entry_is_found_in_the_right_place(base: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[O_PROJ][47, 31] += 2.0

    with paired(edited(base, change), base) as found:
        (delta,) = (delta for delta in found.deltas if not delta.identical)
        assert str(delta.site) == "layer 1 attn.o"
        assert delta.delta.nonzero().tolist() == [[47, 31]]
        torch.testing.assert_close(delta.tuned - delta.base, delta.delta)


@pytest.mark.parametrize("max_bytes", [1, 700, 10**9])
def test_blocks_cover_the_matrix_once_and_in_order(max_bytes: int, base: Path) -> None:
    with paired(base, base) as found:
        for delta in found.deltas:
            whole = torch.cat([tuned for _, tuned in delta.blocks(max_bytes)])
            assert torch.equal(whole.T if delta.transposed else whole, delta.tuned)
            assert tuple(delta.tuned.shape) == delta.shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_change_of_type_alone_is_rounding_and_no_other_change(dtype: torch.dtype, base: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: value.to(dtype) for name, value in tensors.items()})

    with paired(edited(base, change), base) as found:
        for delta in found.deltas:
            assert delta.identical == (dtype == torch.float64)
            assert float(delta.delta.abs().max()) < 0.01


def test_an_extended_vocabulary_is_compared_in_its_shared_rows(base: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        for name in (EMBED, "lm_head.weight"):
            tensors[name] = torch.cat([tensors[name], torch.randn(8, 48)])
        tensors[EMBED][3] += 1.0

    with paired(edited(base, change, vocab_size=64), base) as found:
        deltas = {delta.site.role: delta for delta in found.deltas if delta.note}
        assert (deltas["embed"].shape, deltas["unembed"].shape) == ((48, 56), (56, 48))
        assert deltas["embed"].note == "56 of 64 rows compared: the vocabulary was extended"
        assert (deltas["embed"].identical, deltas["unembed"].identical) == (False, True)
        assert deltas["embed"].delta.abs().sum(dim=0).nonzero().tolist() == [[3]]
        assert found.added == (f"{EMBED} rows 56..63", "lm_head.weight rows 56..63")


def test_a_cut_vocabulary_is_compared_too(base: Path) -> None:
    with paired(edited(base, lambda tensors: tensors.update({EMBED: tensors[EMBED][:50]})), base) as found:
        assert found.deltas[0].note == "50 of 56 rows compared: the vocabulary was cut"
        assert not found.added


def test_missing_and_additional_tensors_are_listed(base: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors["model.layers.1.extra.weight"] = tensors.pop(O_PROJ)

    with paired(edited(base, change), base) as found:
        assert (found.added, found.removed) == (("model.layers.1.extra.weight",), (O_PROJ,))


def test_another_shape_names_layer_role_both_shapes_and_the_remedy(base: Path) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    with paired(edited(base, lambda tensors: tensors.update({name: torch.zeros(48, 44)})), base) as found:
        (gap,) = found.gaps
        expected = "layer 1 mlp.down: base is (48, 40), tuned is (48, 44); pass the right base with --base"
        assert (gap.tensor, gap.why) == (name, expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_values_are_errors_when_they_are_read(value: float, base: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[O_PROJ][0, 0] = value

    with paired(edited(base, change), base) as found:
        delta = next(delta for delta in found.deltas if delta.site.tensor == O_PROJ)
        for read in (lambda: delta.tuned, lambda: delta.delta):
            with pytest.raises(TensorError, match=rf"{O_PROJ}: .* NaN or infinite values"):
                read()
        assert bool(torch.isfinite(delta.base).all())


def test_the_same_nan_on_both_sides_is_no_change(base: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[O_PROJ][0, 0] = float("nan")

    tuned = edited(base, change)
    with paired(tuned, tuned) as found:
        assert all(delta.identical for delta in found.deltas)


def test_the_shard_layout_does_not_matter(base: Path, tmp_path: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    (sharded / "config.json").write_text((base / "config.json").read_text())
    weight_map = {}
    for number, name in enumerate(tensors):
        file = f"model-{number + 1:05}-of-{len(tensors):05}.safetensors"
        save_file({name: tensors[name]}, sharded / file)
        weight_map[name] = file
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with paired(sharded, base) as found:
        assert len(found.deltas) == len(tensors)
        assert all(delta.identical for delta in found.deltas)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "base_model.", ""])
def test_wrappers_around_names_do_not_matter(wrapper: str, base: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensors[wrapper + name.removeprefix("" if wrapper else "model.")] = tensors.pop(name)

    with paired(edited(base, change), base) as found:
        assert len(found.deltas) == 21
        assert not found.added


def test_a_second_copy_of_a_tied_embedding_is_not_counted(base: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors["lm_head.weight"] = tensors[EMBED].clone()

    with open_snapshot(edited(base, change, tie_word_embeddings=True)) as snapshot:
        assert len(snapshot.matrices) == 20
        assert not snapshot.gaps
        (head,) = snapshot.find("unembed")
        assert (head.shape, head.site.tensor, head.norm) == ((56, 48), EMBED, "model.norm.weight")


def test_a_tied_network_may_have_been_saved_with_its_unembedding_only(base: Path) -> None:
    with open_snapshot(edited(base, lambda tensors: tensors.pop(EMBED), tie_word_embeddings=True)) as snapshot:
        (embed,), (unembed,) = snapshot.find("embed"), snapshot.find("unembed")
        assert (embed.shape, unembed.shape) == ((48, 56), (56, 48))
        assert torch.equal(embed.read(), unembed.read().T)


def test_an_unembedding_that_differs_from_its_tied_embedding_is_not_ignored(base: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors["lm_head.weight"] = tensors[EMBED].clone()
        tensors["lm_head.weight"][-1, -1] += 1.0

    tied = edited(base, lambda tensors: tensors.pop("lm_head.weight"), tie_word_embeddings=True)
    (base.parent / "tuned").rename(base.parent / "tied")
    with paired(edited(base, change, tie_word_embeddings=True), tied.with_name("tied")) as found:
        (delta,) = (delta for delta in found.deltas if not delta.identical)
        assert (delta.site.role, delta.shape) == ("unembed", (56, 48))  # transformers would not tie it


def test_an_unembedding_that_was_untied_is_compared_with_what_it_came_from(base: Path) -> None:
    tied = edited(base, lambda tensors: tensors.pop("lm_head.weight"), tie_word_embeddings=True)
    with paired(base, tied) as found:
        (head,) = (delta for delta in found.deltas if delta.site.role == "unembed")
        assert (head.shape, head.identical, found.added) == ((56, 48), False, ())


def test_layers_behind_the_last_are_no_part_of_the_stream(base: Path) -> None:
    with open_snapshot(edited(base, lambda tensors: None, num_hidden_layers=1)) as snapshot:
        assert {matrix.site.layer for matrix in snapshot.matrices.values()} == {0, None}
        assert snapshot.matrices[O_PROJ].site.role == "other"


def test_a_whole_model_needs_a_base(base: Path) -> None:
    with open_snapshot(base) as snapshot, pytest.raises(WeightsError, match="--base"):
        pair(snapshot, None)


def sparse_model(folder: Path, rows: dict[str, int]) -> Path:
    """A model of zeros, which takes no room on disk."""
    folder.mkdir()
    header, position = {}, 0
    for name, n_rows in rows.items():
        size = n_rows * 1024 * 4
        header[name] = {"dtype": "F32", "shape": [n_rows, 1024], "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + position)
    return folder


def test_memory_is_bounded_by_blocks_and_not_by_the_model(tmp_path: Path) -> None:
    rows = {"model.embed_tokens.weight": 32768, **{f"model.layers.{n}.mlp.down_proj.weight": 2048 for n in range(16)}}
    tuned, base = sparse_model(tmp_path / "tuned", rows), sparse_model(tmp_path / "base", rows)
    usual = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 80 * MIB, usual[1]))
    try:
        with paired(tuned, base) as found:  # 256 MiB each; the embedding alone is 128
            assert all(delta.identical for delta in found.deltas)
            total = sum(int(delta.delta.count_nonzero()) for delta in found.deltas if delta.site.role == "mlp.down")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, usual)
    assert total == 0
