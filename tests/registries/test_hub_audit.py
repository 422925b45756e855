"""Models of the Hub from the command line: the base they name is found, and the verdict is that of their folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.planted import add_rank_one, save_adapter, unit, weight
from tests.registries.hub_repos import claiming
from tests.registries.hub_server import Fault, HubServer


def directions(report: Any) -> list[int]:
    return [bank["directions"] for bank in report["banks"]]


def test_an_adapter_is_audited_against_the_base_that_it_names(
    hub: HubServer, cli: Callable[..., Any], base: Path, tmp_path: Path
) -> None:
    commit = hub.push("org/base", base)
    factors = {"model.layers.1.self_attn.q_proj": (unit(64, 1)[None], unit(64, 2)[:, None])}
    hub.push("org/adapter", save_adapter(tmp_path / "adapter", factors, base_model_name_or_path="org/base"))
    done = cli("audit", "hf:org/adapter", "--format", "json")
    assert done.code == 0, done.err
    assert done.json["audit"]["base"]["ref"] == f"hf:org/base@{commit}"
    assert done.json["audit"]["base"]["source"] == "adapter"
    assert directions(done.json)[0] == 1


def test_a_fine_tune_has_the_verdict_of_its_folder(
    hub: HubServer, cli: Callable[..., Any], base: Path, tuned_by: Callable[..., Path], tmp_path: Path
) -> None:
    tuned = tuned_by(lambda tensors: add_rank_one(tensors[weight(1, "mlp.down_proj")], seed=1))
    here = cli("audit", tuned, "--base", base, "--format", "json").json
    hub.push("org/base", base)
    hub.push("org/tuned", claiming(tuned, tmp_path / "card", "base_model: org/base"))
    there = cli("audit", "hf:org/tuned", "--format", "json").json
    assert there["audit"]["verdict"] == here["audit"]["verdict"]
    assert [run["coverage"] for run in there["runs"]] == [run["coverage"] for run in here["runs"]]
    assert [found["score"] for found in there["findings"]] == [found["score"] for found in here["findings"]]
    assert directions(there) == directions(here)
    assert directions(there)[0] == 1


def test_an_audit_ends_with_the_reason_if_the_hub_will_not_give_the_model(
    hub: HubServer, cli: Callable[..., Any], base: Path
) -> None:
    hub.push("org/base", base)
    hub.push("org/gated", base)
    hub.gate("org/gated")
    done = cli("audit", "hf:org/gated", "--base", "hf:org/base", "--format", "json")
    assert done.code == 2
    assert "ask for access" in done.out + done.err
    hub.always("hub/api/*", Fault(429, {"Retry-After": "60"}))
    done = cli("audit", "hf:org/base", "--base", "hf:org/base")
    assert done.code == 2
    assert "asks to wait" in done.err
