"""Which base a model names, in which order its files are believed, and where that base is looked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from registry_auditor.domain import BaseSource
from registry_auditor.errors import RegistryError, UsageError, WeightsError
from registry_auditor.registries import claim_of, resolve, resolve_claim
from registry_auditor.registries.claims import Claim, claimed_base
from tests.planted import WEIGHTS, add_rank_one, cosine, save_adapter, unit, weight

Json = dict[str, Any]


def write(folder: Path, **files: Any) -> Path:
    folder.mkdir(exist_ok=True)
    names = {"adapter": "adapter_config.json", "config": "config.json", "card": "README.md"}
    for kind, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / names[kind]).write_text(text, encoding="utf-8")
    return folder


def card(claimed: str) -> str:
    return f"---\nlicense: mit\nbase_model: {claimed}\n---\n# A model\nbase_model: org/in-the-text\n"


ADAPTER, CONFIG = {"base_model_name_or_path": "org/of-adapter"}, {"_name_or_path": "org/of-config"}


@pytest.mark.parametrize(
    ("files", "claim"),
    [
        ({}, None),
        ({"adapter": ADAPTER, "card": card("org/x"), "config": CONFIG}, Claim("org/of-adapter", BaseSource.ADAPTER)),
        ({"card": card("org/x"), "config": CONFIG}, Claim("org/x", BaseSource.CARD)),
        ({"config": CONFIG}, Claim("org/of-config", BaseSource.CONFIG)),
        ({"card": card("[org/only]")}, Claim("org/only", BaseSource.CARD)),
        ({"card": card("[org/one, org/two]"), "config": CONFIG}, Claim("org/of-config", BaseSource.CONFIG)),
        ({"card": card("''")}, None),
        ({"card": card("17")}, None),
        ({"card": "# base_model: org/no-front-matter"}, None),
        ({"card": "---\nbase_model: org/never-closed\n"}, None),
        ({"card": "---\n- a\n- list\n---\n"}, None),
        ({"adapter": {"base_model_name_or_path": None}, "config": {"_name_or_path": ""}}, None),
        ({"adapter": {"base_model_name_or_path": {"x": 1}}}, None),
    ],
)  # fmt: skip
def test_files_are_believed_in_this_order(files: Json, claim: Claim | None, tmp_path: Path) -> None:
    assert claimed_base(write(tmp_path / "model", **files)) == claim


@pytest.mark.parametrize(
    "text",
    ["---\nbase_model: [unclosed\n---\n", "---\nx: !!python/object/apply:os.system ['touch executed']\n---\n",
     "---\n" + "[" * 5000 + "\n---\n", "---\nx: 2026-99-99\n---\n"],
)  # fmt: skip
def test_a_broken_or_hostile_card_is_named_and_not_executed(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"README\.md.*--base"):
        claimed_base(write(tmp_path / "model", card=text))
    assert not (tmp_path / "executed").exists()


def test_a_card_that_grows_without_end_is_read_at_its_head_only(tmp_path: Path) -> None:
    bomb = "---\na: &a [x, x, x, x, x, x, x, x, x]\n"
    for one, before in zip("bcdefgh", "abcdefg", strict=True):
        bomb += f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]\n"
    folder = write(tmp_path / "model", card=bomb + "base_model: org/base\n---\n" + "x" * 2**21)
    assert claimed_base(folder) == Claim("org/base", BaseSource.CARD)


def test_a_card_that_links_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text(card("org/secret"))
    folder = write(tmp_path / "model")
    (folder / "README.md").symlink_to(tmp_path / "secret.md")
    with pytest.raises(WeightsError, match="README"):
        claimed_base(folder)


@pytest.mark.parametrize("claimed", ["base", "org/base", "org/base/", "./base"])
def test_a_claimed_base_is_found_beside_the_model(claimed: str, base: Path, tmp_path: Path) -> None:
    beside = Path(shutil.copytree(base, tmp_path / "base"))
    model = resolve(str(write(tmp_path / "model", card=card(claimed))))
    claim = claim_of(model)
    assert claim is not None
    assert resolve_claim(model, claim) == resolve(str(beside))


def test_a_claimed_base_is_found_by_its_path(base: Path, tmp_path: Path) -> None:
    model = resolve(str(write(tmp_path / "model", config={"_name_or_path": str(base)})))
    claim = claim_of(model)
    assert claim is not None
    assert resolve_claim(model, claim).name == str(base.resolve())


@pytest.mark.parametrize(
    "claimed", ["org/elsewhere", "/no/such/folder", "model", "org/model", ".", "..", "model/inside", "no name at all!"]
)
def test_a_base_that_is_nowhere_is_named_with_who_claims_it(claimed: str, tmp_path: Path) -> None:
    model = resolve(str(write(tmp_path / "model", card=card(f"'{claimed}'"))))
    (tmp_path / "model" / "inside").mkdir()
    with pytest.raises(RegistryError, match="--base") as caught:
        resolve_claim(model, Claim(claimed, BaseSource.CARD))
    assert claimed in str(caught.value)
    assert "the card names" in str(caught.value)


def test_what_a_model_claims_cannot_write_to_the_terminal(cli: Callable[..., Any], tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapter", claimed="org/x\x1b[2J\x07\u202eevil")
    done = cli("audit", tmp_path / "adapter")
    assert "going on without a base" in done.err
    assert not set(done.out + done.err) & {"\x1b", "\x07", "\u202e"}


def test_a_model_is_never_its_own_base(base: Path, tmp_path: Path, audited: Callable[..., Json]) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "model"))
    (folder / "README.md").write_text(card(str(folder)))
    report = audited(folder, None)
    assert report["audit"]["base"] is None
    assert report["exit_code"] == 3


@pytest.mark.parametrize("target", ["nexus:org/model", "s3://bucket/model"])
def test_an_unknown_registry_is_a_usage_error(target: str) -> None:
    with pytest.raises(UsageError, match="unknown registry"):
        resolve(target)


def test_an_adapter_finds_its_base_beside_it(
    audited: Callable[..., Json], directions_of: Callable[..., Any], base: Path, tmp_path: Path
) -> None:
    shutil.copytree(base, tmp_path / "tiny-base")
    left, right = write_adapter(tmp_path / "adapter", claimed="some-org/tiny-base")
    report = audited(tmp_path / "adapter", None)
    assert report["audit"]["base"]["ref"].startswith(f"dir:{tmp_path}/tiny-base@sha256:")
    assert report["audit"]["base"]["source"] == "adapter"
    assert (report["exit_code"], report["audit"]["verdict"]) == (0, "pass")
    (found,) = directions_of(report)
    assert cosine(found[1], right) > 0.9999
    assert left is not None
    (summary,) = [each for each in report["findings"] if each["code"] == "svd-diff/summary"]
    assert summary["score"] > 0


def test_a_base_is_found_in_a_folder_that_is_watched(
    audited: Callable[..., Json], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(base, tmp_path / "watched" / "some-org" / "tiny-base")
    (tmp_path / "elsewhere").mkdir()
    write_adapter(tmp_path / "elsewhere" / "adapter", claimed="some-org/tiny-base")
    monkeypatch.setenv("REGISTRY_AUDITOR_REGISTRIES", json.dumps([f"dir:{tmp_path}/watched"]))
    report = audited(tmp_path / "elsewhere" / "adapter", None)
    assert report["audit"]["base"]["ref"].startswith(f"dir:{tmp_path}/watched/some-org/tiny-base@sha256:")
    assert report["exit_code"] == 0


def test_an_adapter_without_its_base_yields_directions_and_no_relative_norm(
    cli: Callable[..., Any], directions_of: Callable[..., Any], tmp_path: Path
) -> None:
    _, right = write_adapter(tmp_path / "adapter", claimed="some-org/absent")
    done = cli("audit", tmp_path / "adapter", "--format", "json")
    assert done.code == 3
    assert "going on without a base: the adapter names some-org/absent as base" in done.err
    (found,) = directions_of(done.json)
    assert cosine(found[1], right) > 0.9999
    assert found[0].site.side == "reads"
    summaries = [each for each in done.json["findings"] if each["code"] == "svd-diff/summary"]
    assert [each["score"] for each in summaries] == [None]
    assert "base" in done.json["exit_reason"]


def test_an_adapter_against_the_wrong_base_names_both_shapes(
    audited: Callable[..., Json], base: Path, tmp_path: Path
) -> None:
    write_adapter(tmp_path / "adapter", claimed="x", d_in=80)
    report = audited(tmp_path / "adapter", base)
    assert report["exit_code"] == 3
    (gap,) = report["runs"][0]["coverage"]["skipped"]
    assert "base is (64, 64), the adapter is (64, 80); pass the right base with --base" in gap["why"]


def write_adapter(folder: Path, *, claimed: str, d_in: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """A LoRA of rank 1 on one query projection: what paper methods that look at writers alone cannot see."""
    left, right = unit(64, 1), unit(d_in, 2)
    factors = {"model.layers.1.self_attn.q_proj": (right[None] * 0.3, left[:, None])}
    save_adapter(folder, factors, lora_alpha=2, target_modules=["q_proj"], base_model_name_or_path=claimed)
    return left, right


def test_a_card_names_the_base_of_a_whole_model(
    audited: Callable[..., Json], tuned_by: Callable[..., Path], base: Path, tmp_path: Path
) -> None:
    shutil.copytree(base, tmp_path / "tiny-base")
    tuned = tuned_by(lambda tensors: add_rank_one(tensors[weight(1, "mlp.down_proj")], seed=1))
    (tuned / "README.md").write_text(card("org/tiny-base"))
    report = audited(tuned, None)
    assert report["audit"]["base"]["source"] == "card"
    assert report["banks"][0]["directions"] == 1


def test_the_digest_of_a_folder_follows_every_file_and_nothing_else(base: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    digest = resolve(str(base)).revision
    assert resolve(str(copy)).revision == digest
    (copy / ".cache").mkdir()
    (copy / ".cache" / "x").write_text("hidden files are not part of a model")
    assert resolve(str(copy)).revision == digest
    (copy / "extra.json").write_text("{}")
    changed = resolve(str(copy)).revision
    assert changed != digest
    (copy / "extra.json").rename(copy / "other.json")
    assert resolve(str(copy)).revision not in (digest, changed)
    content = bytearray((copy / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (copy / "other.json").unlink()
    (copy / WEIGHTS).write_bytes(bytes(content))
    assert resolve(str(copy)).revision != digest


def test_a_folder_with_loops_and_pipes_can_be_named(tmp_path: Path, base: Path) -> None:
    import os

    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    digest = resolve(str(copy)).revision
    (copy / "loop").symlink_to(copy)
    os.mkfifo(copy / "pipe")
    (copy / "dangling").symlink_to(copy / "nowhere")
    assert resolve(str(copy)).revision == digest


def test_a_folder_is_itself_however_it_is_written(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base.parent)
    (one, *others) = [resolve(name) for name in (str(base), "base", "./base/", f"dir:{base}", "dir:base")]
    assert one.name == str(base.resolve())
    assert all(other == one for other in others)
