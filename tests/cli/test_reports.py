"""Reports of real audits fit the schemas of their formats, and alerts stay the same over scans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.planted import WEIGHTS, add_rank_one, weight

Cli = Callable[..., Any]
Json = dict[str, Any]
SARIF = Path(__file__).parents[1] / "report" / "schemas" / "sarif-2.1.0.json"


def one_matrix(tensors: dict[str, Tensor]) -> None:
    add_rank_one(tensors[weight(2, "mlp.down_proj")], seed=1)
    tensors["extra.weight"] = tensors[weight(2, "mlp.up_proj")].clone()


@pytest.fixture
def tuned(tuned_by: Callable[..., Path]) -> Path:
    return tuned_by(one_matrix)


def shown(cli: Cli, report: Json, form: str, *options: object) -> Json:
    done = cli("audits", "show", report["audit"]["id"], "--format", form, *options)
    assert done.code == 0, done.err
    return dict(done.json)


def sarif(cli: Cli, report: Json, *options: object) -> Json:
    log = shown(cli, report, "sarif", *options)
    jsonschema.Draft202012Validator(json.loads(SARIF.read_text(encoding="utf-8"))).validate(log)
    return dict(log["runs"][0])


def alerts(run: Json) -> dict[str, Json]:
    return {result["partialFingerprints"]["primaryLocationLineHash"]: result for result in run["results"]}


def test_a_real_audit_fits_both_schemas_and_its_rules_are_explained(
    cli: Cli, audited: Callable[..., Json], tuned: Path, base: Path
) -> None:
    report = audited(tuned, base)
    run = sarif(cli, report)
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert set(rules) == {found["code"] for found in report["findings"]}
    edit = rules["svd-diff/rank-one-update"]
    assert edit["shortDescription"]["text"].startswith("matrices changed along a single direction")
    assert "### What it cannot see" in edit["help"]["markdown"]
    bom = cli("audits", "show", report["audit"]["id"], "--format", "cyclonedx")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom.out) is None
    assert bom.json["metadata"]["component"]["hashes"][0]["content"] in report["audit"]["model"]["digest"]


@pytest.mark.parametrize("form", ["markdown", "html", "sarif", "cyclonedx"])
def test_what_is_printed_is_what_is_shown_later(cli: Cli, tuned: Path, base: Path, form: str) -> None:
    printed = cli("audit", tuned, "--base", base, "--format", form)
    assert printed.code == 0, printed.err
    (audit,) = cli("audits", "list", "--format", "json").json["items"]
    shown = cli("audits", "show", audit["id"], "--format", form)
    assert (shown.code, shown.out) == (0, printed.out)
    assert "svd-diff/rank-one-update" in shown.out


def test_alerts_stay_the_same_in_another_scan_of_another_revision(
    cli: Cli, audited: Callable[..., Json], tuned: Path, base: Path
) -> None:
    before = audited(tuned, base)
    tensors = load_file(tuned / WEIGHTS)
    del tensors["extra.weight"]
    tensors[weight(2, "mlp.down_proj")] *= 1.0 + 1e-3  # other numbers, another revision
    save_file(tensors, tuned / WEIGHTS, metadata={"format": "pt"})
    after = audited(tuned, base)
    assert after["audit"]["model"]["digest"] != before["audit"]["model"]["digest"]
    first, second = alerts(sarif(cli, before)), alerts(sarif(cli, after))
    assert set(first) & set(second)
    states = {
        result["ruleId"]: result["baselineState"]
        for result in sarif(cli, after, "--before", before["audit"]["id"])["results"]
    }
    assert states["svd-diff/added-tensors"] == "absent"
    assert {"new", "unchanged", "updated"} >= set(states.values()) - {"absent"}
    assert states["svd-diff/summary"] == "updated"


def test_a_baseline_is_an_earlier_audit_of_the_same_model_and_goes_with_sarif(
    cli: Cli, audited: Callable[..., Json], tuned: Path, base: Path
) -> None:
    one, other = audited(tuned, base), audited(base, base)
    later = audited(tuned, base)
    for arguments, told in (
        ((later, "sarif", other), "is an audit of"),
        ((one, "sarif", later), "not earlier"),
        ((later, "json", one), "goes with --format sarif"),
    ):
        report, form, baseline = arguments
        done = cli("audits", "show", report["audit"]["id"], "--format", form, "--before", baseline["audit"]["id"])
        assert (done.code, done.out) == (4, "")
        assert told in done.err
