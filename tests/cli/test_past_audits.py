"""What is in the store can be asked for again: lists, single records, pages, bank files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from torch import Tensor

from registry_auditor.store import Store
from tests.planted import add_rank_one, cosine, weight

Cli = Callable[..., Any]
Json = dict[str, Any]


@pytest.fixture
def planted_pair(tuned_by: Callable[..., Path]) -> tuple[Path, dict[str, tuple[Tensor, Tensor]]]:
    """A fine-tune with a direction in a writer and a weaker one in a reader, by tensor."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def change(tensors: dict[str, Tensor]) -> None:
        for seed, (name, size) in enumerate(
            {weight(1, "mlp.down_proj"): 0.5, weight(2, "self_attn.q_proj"): 0.2}.items()
        ):
            found[name] = add_rank_one(tensors[name], seed=10 * seed, relative=size)

    return tuned_by(change), found


@pytest.fixture
def done(audited: Callable[..., Json], planted_pair: tuple[Path, Any], base: Path) -> Json:
    return audited(planted_pair[0], base)


EMPTY = {
    ("audits", "list"): "registry-auditor demo",
    ("findings", "list"): "No such findings",
    ("directions", "list"): "No such directions",
}


@pytest.mark.parametrize("command", EMPTY)
def test_an_empty_store_says_so(cli: Cli, command: tuple[str, str]) -> None:
    text = cli(*command)
    assert (text.code, EMPTY[command] in text.out) == (0, True)
    assert cli(*command, "--format", "json").json == {"items": [], "next": None}


def test_an_audit_shown_later_is_the_report_that_was_printed(cli: Cli, done: Json) -> None:
    shown = cli("audits", "show", done["audit"]["id"], "--format", "json")
    assert shown.code == 0
    assert shown.json == done
    assert cli("audits", "show", done["audit"]["id"][:13], "--format", "json").json == done


def test_the_exit_code_of_a_shown_audit_is_in_its_json_only(cli: Cli, audited: Callable[..., Json], base: Path) -> None:
    report = audited(base, base, "--fail-on", "info")
    assert report["exit_code"] == 1
    shown = cli("audits", "show", report["audit"]["id"], "--format", "json")
    assert (shown.code, shown.json["exit_code"]) == (0, 1)


@pytest.mark.parametrize(
    "arguments",
    [("audits", "show", "0000"), ("findings", "show", "0000"), ("audits", "show", "not-an-id!"),
     ("findings", "list", "--audit", "0000"), ("directions", "list", "--audit", "0000"),
     ("banks", "export", "--audit", "0000", "--output", "x.safetensors")],
)  # fmt: skip
def test_an_unknown_id_exits_with_4_and_says_where_ids_are_listed(cli: Cli, arguments: tuple[str, ...]) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 4
    assert "list" in outcome.err


def test_a_list_can_be_walked_page_by_page(cli: Cli, done: Json, audited: Callable[..., Json], base: Path) -> None:
    audited(base, base)
    audited(base, base, "--fail-on", "low")
    for command in (("audits", "list"), ("findings", "list"), ("directions", "list")):
        everything = cli(*command, "--format", "json").json
        assert everything["next"] is None
        walked: list[Any] = []
        after: tuple[str, ...] = ()
        while True:
            page = cli(*command, "--format", "json", "--limit", 1, *after).json
            walked += page["items"]
            if page["next"] is None:
                break
            after = ("--after", page["next"])
        assert walked == everything["items"]
        assert len(walked) > 1


def test_a_text_list_says_how_to_go_on_and_how_is_copied_in_one_piece(cli: Cli, done: Json) -> None:
    page = cli("findings", "list", "--limit", 1)
    assert "--after" in page.err
    following = page.err.split("--after ")[1].strip().strip("'")
    assert cli("findings", "list", "--limit", 1, "--after", following).code == 0
    ids = [item["id"] for item in cli("findings", "list", "--format", "json").json["items"]]
    text = cli("findings", "list").out
    assert all(each in text for each in ids)


@pytest.mark.parametrize("command", ["audits", "findings", "directions"])
def test_what_is_no_place_in_a_list_exits_with_4(cli: Cli, done: Json, command: str) -> None:
    outcome = cli(command, "list", "--after", "nonsense")
    assert outcome.code == 4
    assert "no place in a list" in outcome.err


def test_lists_are_narrowed(cli: Cli, done: Json, planted_pair: tuple[Path, Any]) -> None:
    def count(*arguments: object) -> int:
        return len(cli(*arguments, "--format", "json").json["items"])

    assert count("audits", "list", "--verdict", "pass") == 1
    assert count("audits", "list", "--verdict", "fail") == 0
    assert count("audits", "list", "--model", f"dir:{planted_pair[0]}*") == 1
    assert count("audits", "list", "--model", "hf:*") == 0
    assert count("findings", "list", "--severity", "low", "--code", "svd-diff/*") == 1
    assert count("findings", "list", "--analyzer", "token-projection") == 1
    assert count("directions", "list", "--role", "mlp.*") == 1
    assert count("directions", "list", "--layer", 2, "--tensor", "*q_proj*") == 1
    assert count("directions", "list", "--layer", 3) == 0


def test_a_finding_is_shown_with_its_evidence(cli: Cli, done: Json) -> None:
    item = cli("findings", "list", "--code", "svd-diff/rank-one-update", "--format", "json").json["items"][0]
    shown = cli("findings", "show", item["id"], "--format", "json").json
    assert [event["kind"] for event in shown.pop("events")] == ["found"]
    assert shown == item
    text = cli("findings", "show", item["id"]).out
    assert "svd-diff/rank-one-update" in text
    assert weight(1, "mlp.down_proj") in text
    assert done["audit"]["id"] in text


def test_an_exported_bank_holds_the_directions_of_the_audit_strongest_matrix_order_kept(
    cli: Cli, done: Json, db: str, planted_pair: tuple[Path, dict[str, tuple[Tensor, Tensor]]], tmp_path: Path
) -> None:
    output = tmp_path / "bank.safetensors"
    outcome = cli("banks", "export", "--audit", done["audit"]["id"], "--output", output)
    assert (outcome.code, outcome.out) == (0, "")
    with safe_open(output, framework="np") as file:
        vectors, strength, residual = (file.get_tensor(name) for name in ("vectors", "strength", "residual"))
        sites = json.loads(file.metadata()["sites"])
        assert file.metadata()["basis"] == done["audit"]["base"]["digest"]
    assert vectors.shape == (done["banks"][0]["directions"], 64)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (residual < 1e-3).all()
    listed = cli("directions", "list", "--format", "json").json["items"]
    assert sorted(strength, reverse=True) == pytest.approx([each["strength"] for each in listed])
    with Store.open(db) as store:
        assert np.array_equal(store.banks.vectors(done["banks"][0]["sha256"]), vectors)
    for (tensor, _, _, side, rank), vector in zip(sites, vectors, strict=True):
        left, right = planted_pair[1][tensor]
        assert rank == 0
        assert cosine(vector, left if side == "writes" else right) > 0.999


def test_an_audit_without_directions_has_no_bank_to_export(
    cli: Cli, audited: Callable[..., Json], base: Path, tmp_path: Path
) -> None:
    report = audited(base, base)
    outcome = cli("banks", "export", "--audit", report["audit"]["id"], "--output", tmp_path / "bank.safetensors")
    assert outcome.code == 4
    assert "no direction bank" in outcome.err
    assert not (tmp_path / "bank.safetensors").exists()


def test_a_bank_that_was_changed_on_disk_is_not_exported(cli: Cli, done: Json, tmp_path: Path) -> None:
    sha256 = done["banks"][0]["sha256"]
    file = tmp_path / "banks" / sha256[:2] / f"{sha256}.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    outcome = cli("banks", "export", "--audit", done["audit"]["id"], "--output", tmp_path / "bank.safetensors")
    assert outcome.code == 2
    assert "holds other bytes" in outcome.err


def test_bank_files_go_where_the_settings_say(
    cli: Cli, planted_pair: tuple[Path, Any], base: Path, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere"
    report = cli("audit", planted_pair[0], "--base", base, "--banks", place, "--format", "json").json
    assert [path.stem for path in place.rglob("*.safetensors")] == [report["banks"][0]["sha256"]]
    lost = cli("banks", "export", "--audit", report["audit"]["id"], "--output", tmp_path / "bank.safetensors")
    assert lost.code == 2
    assert "--banks" in lost.err
    found = cli(
        "banks", "export", "--audit", report["audit"]["id"], "--banks", place, "--output", tmp_path / "x.safetensors"
    )
    assert found.code == 0
