"""Broken and hostile uploads end in a clear message and exit code 2 or 3; nothing in them is executed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests import planted
from tests.planted import WEIGHTS, add_rank_one, weight

Cli = Callable[..., Any]
Json = dict[str, Any]


@pytest.fixture
def upload(base: Path, tmp_path: Path) -> Path:
    """A folder like that of the base, to be broken."""
    return Path(shutil.copytree(base, tmp_path / "upload"))


class Payload:
    """What pickle would run."""

    def __init__(self, target: Path) -> None:
        self.command = f"touch {target}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def truncate(upload: Path) -> str:
    content = (upload / WEIGHTS).read_bytes()
    (upload / WEIGHTS).write_bytes(content[:-1000])
    return "truncated"


def hostile_pickle(upload: Path) -> str:
    (upload / WEIGHTS).unlink()
    torch.save({"model.norm.weight": Payload(upload.parent / "executed")}, upload / "pytorch_model.bin")
    return "do not load this model"


def hostile_plain_pickle(upload: Path) -> str:
    import pickle

    (upload / WEIGHTS).unlink()
    (upload / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(upload.parent / "executed")))
    return "pytorch_model.bin"


def index_out_of_the_folder(upload: Path) -> str:
    secret = upload.parent / "secret.safetensors"
    shutil.move(upload / WEIGHTS, secret)
    index = {"weight_map": {"model.norm.weight": "../secret.safetensors"}}
    (upload / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    return "../secret.safetensors"


def link_out_of_the_folder(upload: Path) -> str:
    secret = upload.parent / "secret.safetensors"
    shutil.move(upload / WEIGHTS, secret)
    (upload / WEIGHTS).symlink_to(secret)
    return WEIGHTS


def missing_shard(upload: Path) -> str:
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (upload / WEIGHTS).unlink()
    (upload / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    return "model-00001-of-00002.safetensors"


def promised_terabytes(upload: Path) -> str:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (upload / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
    return "truncated"


def no_weights(upload: Path) -> str:
    (upload / WEIGHTS).unlink()
    return "holds no weights"


def nothing_at_all(upload: Path) -> str:
    shutil.rmtree(upload)
    upload.mkdir()
    return "holds no weights"


def broken_config(upload: Path) -> str:
    (upload / "config.json").write_text("{not json")
    return "config.json"


def bottomless_config(upload: Path) -> str:
    (upload / "config.json").write_text("[" * 100_000)
    return "config.json"


def broken_card(upload: Path) -> str:
    (upload / "README.md").write_text("---\nbase_model: [unclosed\n---\n")
    return "README.md"


BROKEN = (
    truncate, hostile_pickle, hostile_plain_pickle, index_out_of_the_folder, link_out_of_the_folder, missing_shard,
    promised_terabytes, no_weights, nothing_at_all, broken_config, bottomless_config,
)  # fmt: skip


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("role", ["tuned", "base"])
def test_a_model_that_cannot_be_opened_ends_as_an_error_that_names_the_cause(
    damage: Callable[[Path], str], role: str, cli: Cli, upload: Path, base: Path
) -> None:
    told = damage(upload)
    models = (upload, "--base", base) if role == "tuned" else (base, "--base", upload)
    done = cli("audit", *models, "--format", "json")
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert not (upload.parent / "executed").exists()
    assert done.json["audit"]["verdict"] == "error"
    assert told in done.json["exit_reason"]
    assert str(upload) in done.json["exit_reason"]
    assert not done.json["findings"]


def test_a_broken_card_is_named_and_no_obstacle_with_a_base(cli: Cli, upload: Path, base: Path) -> None:
    broken_card(upload)
    alone = cli("audit", upload)
    assert alone.code == 2
    assert "README.md" in alone.err
    assert "--base" in alone.err
    assert cli("audit", upload, "--base", base).code == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_with_nan_is_a_gap_and_the_others_are_examined(
    value: float, audited: Callable[..., Json], tuned_by: Callable[..., Path], base: Path
) -> None:
    def poison(tensors: dict[str, Tensor]) -> None:
        add_rank_one(tensors[weight(1, "mlp.up_proj")], seed=1)
        tensors[weight(2, "mlp.down_proj")][3, 4] = value

    report = audited(tuned_by(poison), base)
    assert report["exit_code"] == 3
    for run in report["runs"]:
        (gap,) = run["coverage"]["skipped"]
        assert gap["tensor"] == weight(2, "mlp.down_proj")
        assert "NaN or an infinite value" in gap["why"]
        assert run["status"] == "ok"
    assert report["banks"][0]["directions"] == 1
    assert weight(2, "mlp.down_proj") in report["exit_reason"]


QUANTISED: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {
    "GPTQ": (
        {"qweight": torch.zeros(8, 64, dtype=torch.int32), "qzeros": torch.zeros(1, 8, dtype=torch.int32),
         "scales": torch.ones(1, 64, dtype=torch.float16), "g_idx": torch.zeros(96, dtype=torch.int32)},
        {"quant_method": "gptq", "bits": 4},
    ),
    "AWQ": (
        {"qweight": torch.zeros(96, 8, dtype=torch.int32), "qzeros": torch.zeros(1, 8, dtype=torch.int32),
         "scales": torch.ones(1, 64, dtype=torch.float16)},
        {"quant_method": "awq", "bits": 4},
    ),
    "bitsandbytes": (
        {"weight": torch.zeros(3072, 1, dtype=torch.uint8), "weight.absmax": torch.zeros(96, dtype=torch.uint8),
         "weight.quant_map": torch.zeros(16),
         "weight.quant_state.bitsandbytes__nf4": torch.zeros(90, dtype=torch.uint8)},
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", QUANTISED)
def test_a_quantised_model_is_incomplete_and_says_what_to_do(
    title: str, audited: Callable[..., Json], upload: Path, base: Path
) -> None:
    parts, settings = QUANTISED[title]
    tensors = load_file(upload / WEIGHTS)
    module = "model.layers.1.mlp.down_proj"
    del tensors[f"{module}.weight"]
    save_file({**tensors, **{f"{module}.{part}": value for part, value in parts.items()}}, upload / WEIGHTS)
    config = json.loads((upload / "config.json").read_text())
    (upload / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    report = audited(upload, base)
    assert report["exit_code"] == 3
    (gap,) = report["runs"][0]["coverage"]["skipped"]
    assert gap["tensor"].startswith(module)
    assert title in gap["why"]
    assert "audit that" in gap["why"]
    assert [finding["code"] for finding in report["findings"]] == ["svd-diff/identical"]


def test_a_folder_of_gguf_is_incomplete_and_says_how_to_convert_it(
    audited: Callable[..., Json], upload: Path, base: Path
) -> None:
    (upload / WEIGHTS).unlink()
    (upload / "model.Q4_K_M.gguf").write_bytes(b"GGUF" + bytes(100))
    report = audited(upload, base)
    assert report["exit_code"] == 3
    (gap,) = report["runs"][0]["coverage"]["skipped"]
    assert gap["tensor"] == "model.Q4_K_M.gguf"
    assert "gguf_file" in gap["why"]
    assert not report["findings"]


def test_text_from_a_model_is_never_markup(cli: Cli, upload: Path, base: Path) -> None:
    tensors = load_file(upload / WEIGHTS)
    save_file({**tensors, "[bold]x[/bold]<script>|`*": torch.ones(3, 4)}, upload / WEIGHTS)
    text = cli("audit", upload, "--base", base)
    assert "[bold]x[/bold]<script>|`*" in text.out.replace("\n", "")
    page = cli("audit", upload, "--base", base, "--format", "markdown").out
    assert "<script>" not in page.replace("\\<script\\>", "")
    assert "\\[bold\\]x" in page


def test_control_characters_of_a_tensor_name_never_reach_the_terminal(cli: Cli, upload: Path, base: Path) -> None:
    tensors = load_file(upload / WEIGHTS)
    save_file({**tensors, "x\x1b[31m\x07y": torch.ones(3, 4)}, upload / WEIGHTS)
    for form in ("text", "markdown", "json"):
        done = cli("audit", upload, "--base", base, "--format", form)
        assert not set(done.out + done.err) & {"\x1b", "\x07"}


def test_an_adapter_is_no_base(cli: Cli, base: Path, tmp_path: Path) -> None:
    factors = {"model.layers.0.self_attn.q_proj": (torch.ones(2, 64), torch.ones(64, 2))}
    adapter = planted.save_adapter(tmp_path / "adapter", factors, target_modules=["q_proj"], base_model_name_or_path="")
    done = cli("audit", base, "--base", adapter, "--format", "json")
    assert done.code in (2, 3)
    assert "is an adapter and cannot be a base" in done.json["exit_reason"]


def test_models_are_left_as_they_were(cli: Cli, upload: Path, base: Path) -> None:
    def state(folder: Path) -> dict[str, tuple[int, int]]:
        return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}

    before = state(upload), state(base)
    cli("audit", upload, "--base", base)
    assert (state(upload), state(base)) == before


def test_a_model_of_vectors_only_is_looked_at_and_yields_no_directions(
    audited: Callable[..., Json], tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        save_file({"model.norm.weight": planted.unit(64, seed)}, tmp_path / name / WEIGHTS)
    report = audited(tmp_path / "a", tmp_path / "b")
    assert report["exit_code"] in (0, 3)
    assert not report["banks"]
    assert report["runs"][0]["status"] == "ok"
