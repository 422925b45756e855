"""Models are listed and shown from the command line, and whoever audits leaves its analyzers in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.store import Store
from tests.planted import add_rank_one, weight

Cli = Callable[..., Any]


@pytest.fixture
def done(audited: Callable[..., Any], tuned_by: Callable[..., Path], base: Path) -> tuple[Path, Any]:
    """A fine-tune with something to find, and the report of its audit."""
    tuned = tuned_by(lambda tensors: add_rank_one(tensors[weight(1, "mlp.down_proj")], seed=0, relative=0.5))
    return tuned, audited(tuned, base)


def test_models_are_listed_with_how_they_stand(cli: Cli, done: tuple[Path, Any], base: Path) -> None:
    tuned, report = done
    listed = cli("models", "list", "--format", "json").json["items"]
    assert {each["ref"] for each in listed} == {f"dir:{tuned}", f"dir:{base}"}
    (audited,) = cli("models", "list", "--verdict", report["audit"]["verdict"], "--format", "json").json["items"]
    assert (audited["ref"], audited["audit"]["id"]) == (f"dir:{tuned}", report["audit"]["id"])
    assert str(tuned.name) in cli("models", "list").out.replace("\n", "")
    assert "No such models" in cli("models", "list", "--model", "hf:*").out


def test_a_model_is_shown_by_its_folder_its_reference_or_its_id(cli: Cli, done: tuple[Path, Any], base: Path) -> None:
    tuned, report = done
    shown = cli("models", "show", tuned, "--format", "json").json
    assert shown["revisions"][0]["ref"] == report["audit"]["model"]["ref"]
    assert [edge["base"]["ref"] for edge in shown["lineage"]] == [f"dir:{base}"]
    for name in (f"dir:{tuned}", report["audit"]["model"]["ref"], shown["model"]["id"]):
        assert cli("models", "show", name, "--format", "json").json == shown
    text = cli("models", "show", tuned).out
    assert f"made from dir:{base} (said by the operator)" in text
    assert report["audit"]["id"][:13] in text


def test_an_unknown_model_exits_with_4_and_says_where_models_are_listed(cli: Cli) -> None:
    for name in ("hf:org/none", "nonsense"):
        outcome = cli("models", "show", name)
        assert (outcome.code, "models list" in outcome.err) == (4, True)


def test_an_audit_leaves_the_manual_pages_of_its_analyzers(done: tuple[Path, Any], db: str) -> None:
    with Store.open(db) as store:
        found = {each.name: each for each in store.analyzers.list()}
    assert {"svd-diff", "token-projection"} <= found.keys()
    assert found["svd-diff"].needs == ("base",)
    assert "What it cannot see" in found["svd-diff"].manual
    assert found["svd-diff"].schema["properties"]
