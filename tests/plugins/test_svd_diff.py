"""`svd-diff` and `token-projection` find what was planted, are silent where nothing was, and say what they saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import planted
from tests.planted import LAYERS, READERS, WRITERS, D, add_rank_one, cosine, unit, weight

Json = dict[str, Any]
Audit = Callable[..., Json]


def by_code(report: Json) -> dict[str, Json]:
    return {finding["code"].partition("/")[2]: finding for finding in report["findings"]}


def all_linears(tensors: dict[str, Tensor]) -> list[str]:
    return [weight(layer, module) for layer in range(LAYERS) for module in (*WRITERS, *READERS)]


@pytest.fixture(scope="session")
def base_bf16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = planted.llama(dtype=torch.bfloat16)
    return planted.save(net, tmp_path_factory.mktemp("models") / "base", tokenizer=True)


def test_a_model_against_itself_passes_without_directions(audited: Audit, base: Path) -> None:
    report = audited(base, base)
    assert (report["exit_code"], report["audit"]["verdict"]) == (0, "pass")
    assert by_code(report).keys() == {"identical"}
    assert not report["banks"]
    assert "identical" in report["findings"][0]["message"]


def test_a_rank_one_edit_of_one_matrix_is_named(audited: Audit, tuned_by: Callable[..., Path], base: Path) -> None:
    name = weight(2, "mlp.down_proj")
    report = audited(tuned_by(lambda tensors: add_rank_one(tensors[name], seed=1)), base)
    found = by_code(report)
    assert found["rank-one-update"]["evidence"]["tensors"] == [name]
    assert found["rank-one-update"]["site"] == {"tensor": name, "layer": 2, "role": "mlp.down", "side": "writes"}
    assert found["rank-one-update"]["severity"] == "low"
    assert found["summary"]["evidence"]["layers"] == [2]
    assert found["summary"]["evidence"]["roles"] == ["mlp.down"]
    assert report["banks"][0]["directions"] == 1


def test_one_direction_taken_out_of_every_writer_is_shared_and_removed(
    audited: Audit, tuned_by: Callable[..., Path], base: Path, directions_of: Callable[..., Any]
) -> None:
    direction = unit(D, 5)

    def ablate(tensors: dict[str, Tensor]) -> None:
        for layer in range(LAYERS):
            for module in WRITERS:
                matrix = tensors[weight(layer, module)]
                matrix.sub_(direction[:, None] * (direction @ matrix))
        embedding = tensors["model.embed_tokens.weight"]
        embedding.sub_((embedding @ direction)[:, None] * direction)

    report = audited(tuned_by(ablate), base)
    shared, removed = (by_code(report)[code] for code in ("shared-direction", "removed-direction"))
    assert (shared["severity"], shared["score"]) == ("low", 1.0)
    assert removed["severity"] == "medium"
    assert removed["score"] > 0.999
    assert shared["evidence"]["count"] == removed["evidence"]["count"] == 2 * LAYERS + 1
    found = directions_of(report)
    assert len(found) == 2 * LAYERS + 1
    assert min(cosine(vector, direction) for _, vector in found) > 0.999


@pytest.mark.parametrize("rank", [2, 8])
def test_a_merged_adapter_is_told_by_its_rank_also_in_bf16(
    rank: int, audited: Audit, base_bf16: Path, tmp_path: Path
) -> None:
    def merge(tensors: dict[str, Tensor]) -> None:
        generator = torch.Generator().manual_seed(rank)
        for name in all_linears(tensors):
            d_out, d_in = tensors[name].shape
            factors = torch.randn(d_out, rank, generator=generator), torch.randn(rank, d_in, generator=generator)
            update = factors[0] @ factors[1]
            update *= 0.3 * tensors[name].float().norm() / update.norm()
            tensors[name].copy_((tensors[name].float() + update).bfloat16())

    report = audited(planted.fine_tune(base_bf16, tmp_path / "tuned", merge), base_bf16)
    found = by_code(report)
    assert found["low-rank-update"]["evidence"]["rank"] == rank
    assert found["low-rank-update"]["severity"] == "info"
    assert not found.keys() & {"noise-only", "not-the-base", "rank-one-update"}


def test_a_cast_to_bf16_is_noise_and_no_direction(audited: Audit, base: Path, tmp_path: Path) -> None:
    def cast(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.bfloat16() for name, tensor in tensors.items()})

    tuned = planted.fine_tune(base, tmp_path / "tuned", cast)
    for one, other in ((tuned, base), (base, tuned)):
        report = audited(one, other)
        noise = by_code(report)["noise-only"]
        assert noise["evidence"]["rounding"] is True
        assert not report["banks"]
        assert report["exit_code"] == 0


def test_noise_of_any_kind_yields_no_direction(audited: Audit, tuned_by: Callable[..., Path], base: Path) -> None:
    def shake(tensors: dict[str, Tensor]) -> None:
        generator = torch.Generator().manual_seed(3)
        for name in all_linears(tensors):
            tensors[name] += 0.002 * torch.randn(tensors[name].shape, generator=generator)

    report = audited(tuned_by(shake), base)
    assert by_code(report)["noise-only"]["evidence"]["rounding"] is False
    assert not report["banks"]


def test_a_network_of_other_weights_is_not_the_base_and_the_audit_is_incomplete(
    audited: Audit, base: Path, tmp_path: Path
) -> None:
    other = planted.save(planted.llama(seed=9), tmp_path / "other", tokenizer=True)
    report = audited(other, base)
    assert (report["exit_code"], report["audit"]["verdict"]) == (3, "incomplete")
    found = by_code(report)["not-the-base"]
    assert found["severity"] == "medium"
    assert found["score"] == pytest.approx(2**0.5, rel=0.1)
    assert not report["banks"]
    assert "pass the right base with --base" in report["exit_reason"]


def test_a_base_of_another_shape_is_told_by_layer_role_and_both_shapes(
    audited: Audit, base: Path, tmp_path: Path
) -> None:
    wide = planted.save(planted.llama(intermediate_size=128), tmp_path / "wide", tokenizer=True)
    report = audited(wide, base)
    assert report["exit_code"] == 3
    whys = {gap["tensor"]: gap["why"] for gap in report["runs"][0]["coverage"]["skipped"]}
    told = "layer 2 mlp.down: base is (64, 96), tuned is (64, 128); pass the right base with --base"
    assert whys[weight(2, "mlp.down_proj")] == told


def test_a_base_with_other_names_compares_nothing_and_says_so(audited: Audit, base: Path, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path / "gpt2"
    GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=300, n_positions=32)).save_pretrained(folder)
    report = audited(folder, base)
    assert report["exit_code"] == 3
    assert by_code(report).keys() >= {"added-tensors", "removed-tensors"}
    assert "identical" not in by_code(report)


def test_an_extended_vocabulary_is_compared_where_both_have_rows(audited: Audit, base: Path, tmp_path: Path) -> None:
    net = planted.llama()
    direction, tokens = unit(D, 4), unit(planted.WORDS, 6)
    with torch.no_grad():
        net.resize_token_embeddings(planted.WORDS + 7, mean_resizing=False)
        rows = net.get_input_embeddings().weight[: planted.WORDS]
        rows.add_(torch.outer(tokens, direction), alpha=0.3 * float(rows.norm()))
    report = audited(planted.save(net, tmp_path / "tuned", tokenizer=True), base)
    found = by_code(report)
    assert found["added-tensors"]["evidence"]["tensors"] == [
        "model.embed_tokens.weight rows 300..306",
        "lm_head.weight rows 300..306",
    ]
    assert found["rank-one-update"]["site"]["tensor"] == "model.embed_tokens.weight"


def test_tensors_that_came_and_went_are_named(audited: Audit, tuned_by: Callable[..., Path], base: Path) -> None:
    def rearrange(tensors: dict[str, Tensor]) -> None:
        tensors["model.layers.4.mlp.down_proj.weight"] = tensors.pop(weight(3, "mlp.down_proj"))

    found = by_code(audited(tuned_by(rearrange), base))
    assert found["added-tensors"]["evidence"]["tensors"] == ["model.layers.4.mlp.down_proj.weight"]
    assert found["removed-tensors"]["evidence"]["tensors"] == [weight(3, "mlp.down_proj")]


def test_what_is_found_does_not_depend_on_dtype_shards_or_format(
    audited: Audit, tuned_by: Callable[..., Path], base: Path, directions_of: Callable[..., Any], tmp_path: Path
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    truth: dict[str, Tensor] = {}

    def change(tensors: dict[str, Tensor]) -> None:
        for seed, module in enumerate((*WRITERS, *READERS)):
            left, right = add_rank_one(tensors[weight(1, module)], seed=10 * seed)
            truth[weight(1, module)] = left if module in WRITERS else right

    tuned = tuned_by(change)
    net = AutoModelForCausalLM.from_pretrained(tuned)
    variants = {"sharded": {"max_shard_size": "100KB"}, "half": {"dtype": torch.float16}}
    folders = [tuned]
    for name, options in variants.items():
        saved = net.to(options.pop("dtype", torch.float32))
        folders.append(planted.save(saved, tmp_path / name, tokenizer=True, **options))
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 3
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for file in ("config.json", "tokenizer.json"):
        (pickled / file).write_bytes((tuned / file).read_bytes())
    torch.save(load_file(tuned / planted.WEIGHTS), pickled / "pytorch_model.bin")
    for folder in (*folders, pickled):
        report = audited(folder, base)
        strongest = {each.site.tensor: vector for each, vector in directions_of(report) if each.rank == 0}
        assert min(cosine(strongest[name], vector) for name, vector in truth.items()) > 0.99, folder.name
        if folder.name != "half":
            assert report["banks"][0]["directions"] == len(truth)


def test_a_vocabulary_direction_reads_as_the_tokens_it_was_planted_for(
    audited: Audit, tuned_by: Callable[..., Path], base: Path, directions_of: Callable[..., Any]
) -> None:
    name = weight(3, "mlp.down_proj")

    def say_word_42(tensors: dict[str, Tensor]) -> None:
        said = tensors["lm_head.weight"][42]
        update = torch.outer(said / said.norm(), unit(96, 1))
        tensors[name] += 0.5 * float(tensors[name].norm()) * update

    report = audited(tuned_by(say_word_42), base)
    (found,) = [each for each, _ in directions_of(report) if each.site.tensor == name]
    assert found.tokens.top[0][0] == "word42" or found.tokens.bottom[0][0] == "word42"
    assert found.tokens.p_value < 0.05
    (readable,) = [each for each in report["findings"] if each["code"] == "token-projection/readable"]
    assert readable["severity"] == "info"


def test_without_a_tokenizer_the_directions_stand_and_the_reading_is_not_covered(
    audited: Audit, tuned_by: Callable[..., Path], tmp_path: Path
) -> None:
    plain = planted.save(planted.llama(), tmp_path / "plain")
    tuned = planted.fine_tune(plain, tmp_path / "t", lambda t: add_rank_one(t[weight(0, "mlp.down_proj")], seed=1))
    report = audited(tuned, plain)
    statuses = {run["analyzer"]: run["status"] for run in report["runs"]}
    assert statuses == {"svd-diff": "ok", "token-projection": "skipped"}
    assert (report["exit_code"], report["banks"][0]["directions"]) == (3, 1)
    assert "tokenizer" in report["exit_reason"]


def test_runs_that_were_made_for_one_audit_serve_the_next(
    audited: Audit, tuned_by: Callable[..., Path], base: Path
) -> None:
    tuned = tuned_by(lambda tensors: add_rank_one(tensors[weight(0, "mlp.up_proj")], seed=1))
    first, second = audited(tuned, base), audited(tuned, base, "--fail-on", "low")
    assert first["audit"]["id"] != second["audit"]["id"]
    assert (first["runs"], first["findings"]) == (second["runs"], second["findings"])
    assert (first["exit_code"], second["exit_code"]) == (0, 1)
