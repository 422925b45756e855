"""What the API says about models, audits, banks and directions is what is in the store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import safetensors.numpy
from scipy.special import betainc

from registry_auditor.domain import ModelRef
from registry_auditor.report.records import finding as record
from tests.api.v1.conftest import Api
from tests.api.v1.planted import (
    BASE,
    DIMENSION,
    GONE,
    LARGE,
    OTHER_SITE,
    RANK_ONE,
    SITE,
    TUNED,
    audited,
    direction,
    vector,
)

SCHEMA = Path(__file__).parents[3] / "registry_auditor" / "report" / "schema.json"


def test_a_model_stands_as_its_newest_audit_does(still: Api) -> None:
    (model,) = [each for each in still.get("/models")["items"] if each["ref"] == "hf:org/tuned"]
    assert model == still.get(f"/models/{still.planted.model}")
    assert (model["revisions"], model["worst"], model["counts"]["medium"]) == (2, "high", 1)
    assert model["audit"]["id"] == still.planted.after.id
    revisions = still.get(f"/models/{still.planted.model}/revisions")["items"]
    assert {each["ref"] for each in revisions} == {"hf:org/tuned@3f2a", "hf:org/tuned@4a3b"}
    assert all(each["base"] == {"ref": str(BASE), "source": "card"} for each in revisions)


def test_lineage_leads_from_model_to_base(still: Api) -> None:
    for path in ("/lineage", f"/models/{still.planted.model}/lineage"):
        edges = [(edge["model"]["ref"], edge["base"]["ref"]) for edge in still.get(path)["items"]]
        assert ("hf:org/tuned", "hf:org/base") in edges


def test_a_diff_tells_what_came_went_stayed_and_turned(still: Api) -> None:
    diff = still.get(f"/models/{still.planted.model}/diff")
    assert (diff["before"]["id"], diff["after"]["id"]) == (still.planted.before.id, still.planted.after.id)
    told = {kind: [found["code"] for found in diff[kind]] for kind in ("new", "gone", "unchanged")}
    assert told == {"new": [LARGE.code], "gone": [GONE.code], "unchanged": [RANK_ONE.code]}
    (turn,) = diff["turned"]
    assert turn["site"]["layer"] == 3
    assert turn["cosine"] == pytest.approx(abs(float(vector(1) @ vector(3))), abs=1e-5)


def test_a_diff_takes_audits_and_revisions(still: Api) -> None:
    path, planted = f"/models/{still.planted.model}/diff", still.planted
    swapped = still.get(path, **{"from": "4a3b", "to": "3f2a"})
    assert [found["code"] for found in swapped["new"]] == [GONE.code]
    assert still.get(path, **{"from": planted.after.id, "to": planted.before.id}) == swapped
    assert still.get(path, **{"from": "3f"})["after"]["id"] == planted.after.id
    for wrong in (planted.queued.id, "0000", "ffff"):
        assert still.admin.get(f"/api/v1{path}", params={"from": wrong}).status_code == 404


def test_a_report_is_what_the_command_line_writes(still: Api) -> None:
    where = f"/api/v1/audits/{still.planted.after.id}/report"
    report = still.reader.get(where)
    jsonschema.validate(report.json(), json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert {found["code"] for found in report.json()["findings"]} == {LARGE.code, RANK_ONE.code}
    kinds = {
        "markdown": "text/markdown",
        "sarif": "application/sarif+json",
        "cyclonedx": "application/vnd.cyclonedx+json",
        "html": "text/html",
    }
    for form, media_type in kinds.items():
        answer = still.reader.get(where, params={"format": form})
        assert answer.status_code == 200, form
        assert answer.headers["content-type"].startswith(media_type)
        assert "sandbox" in answer.headers["content-security-policy"]
        assert still.planted.after.id in answer.headers["content-disposition"]
    assert still.reader.get(where, params={"format": "pdf"}).status_code == 422


def test_a_report_that_the_client_has_is_not_sent_again(api: Api) -> None:
    where = f"/api/v1/audits/{api.planted.after.id}/report"
    first = api.reader.get(where)
    assert first.headers["cache-control"] == "private, no-cache"
    again = api.reader.get(where, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    api.clients["triage"].post(f"/api/v1/findings/{api.planted.finding}/triage", json={"state": "exploitable"})


def test_runs_and_coverage_tell_what_nobody_looked_at(still: Api) -> None:
    (run,) = still.get(f"/audits/{still.planted.after.id}/runs")["items"]
    coverage = still.get(f"/audits/{still.planted.after.id}/coverage")
    assert run["coverage"] == coverage
    assert coverage["seen"] == 12
    assert "GPTQ" in coverage["skipped"][0]["why"]


def test_a_finding_comes_with_what_people_said(still: Api) -> None:
    found = still.get(f"/findings/{still.planted.finding}")
    assert {name: found[name] for name in record(RANK_ONE)} == json.loads(json.dumps(record(RANK_ONE)))
    assert (found["state"], found["counts"], found["triage"]["by"]) == ("in_triage", True, "cli:operator")
    kinds = [event["kind"] for event in still.get(f"/findings/{still.planted.finding}/events")["items"]]
    assert kinds[0] == "found"
    assert "triaged" in kinds


def test_a_bank_is_a_safetensors_file_that_never_changes(still: Api) -> None:
    where = f"/api/v1/direction-banks/{still.planted.bank}"
    answer = still.reader.get(where)
    tensors = safetensors.numpy.load(answer.content)
    assert tensors["vectors"].shape == (2, DIMENSION)
    assert answer.headers["etag"] == f'"{still.planted.bank}"'
    assert "immutable" in answer.headers["cache-control"]
    assert int(answer.headers["content-length"]) == len(answer.content)
    for known in (answer.headers["etag"], f"W/{answer.headers['etag']}", '"x", ' + answer.headers["etag"], "*"):
        again = still.reader.get(where, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert still.reader.get(where, headers={"if-none-match": '"other"'}).status_code == 200


def test_a_bank_that_is_lost_or_damaged_is_no_file(api: Api, tmp_path: Path) -> None:
    (file,) = (tmp_path / "store" / "banks").rglob(f"{api.planted.bank}.safetensors")
    where = f"/api/v1/direction-banks/{api.planted.bank}"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    assert api.reader.get(where).status_code == 503
    file.unlink()
    answer = api.reader.get(where)
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text
    for wrong in ("0" * 64, "../../etc/passwd", "x"):
        assert api.reader.get(f"/api/v1/direction-banks/{wrong}").status_code in (404, 422)


def test_the_nearest_directions_are_found_in_three_ways(still: Api) -> None:
    where, planted = "/api/v1/directions:nearest", still.planted
    stored = next(
        each for each in still.get("/directions", audit=planted.after.id)["items"] if each["site"]["layer"] == 4
    )
    other = still.reader.post(where, json={"direction": {"bank": stored["bank"], "ordinal": stored["ordinal"]}}).json()
    assert other["dimension"] == DIMENSION
    uploaded = (2 * vector(2)).tolist()
    near = still.reader.post(where, json={"vector": uploaded, "basis": "digest-of-base", "min_cosine": 0.99}).json()
    assert near["items"][0]["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert near["items"][0]["direction"]["site"]["layer"] == 4
    shared = still.reader.post(where, json={"audit": planted.after.id})
    assert shared.status_code == 200
    assert all(not each["model"].startswith(f"{TUNED.registry}:{TUNED.name}") for each in shared.json()["items"])


def test_how_likely_chance_is_to_share_as_much_can_be_checked_by_the_reader(api: Api) -> None:
    near = (vector(3) + 0.5 * vector(9)) / np.linalg.norm(vector(3) + 0.5 * vector(9))
    twin = replace(direction(SITE, 3), vector=near)
    audited(api.store, ModelRef("hf", "org/stranger", "7e6f"), directions=(twin, direction(OTHER_SITE, 7)))
    told = api.reader.post("/api/v1/directions:nearest", json={"audit": api.planted.after.id, "min_cosine": 0.4}).json()
    assert (told["basis"], told["dimension"], told["asked"], told["compared"]) == ("digest-of-base", DIMENSION, 2, 1)
    (stranger,) = told["items"]
    assert stranger["model"] == "hf:org/stranger@7e6f"
    of_pair = betainc((told["dimension"] - 1) / 2, 0.5, 1 - stranger["pairs"][0]["cosine"] ** 2)
    assert stranger["pairs"][0]["p_value"] == pytest.approx(of_pair, rel=1e-6)
    assert stranger["p_value"] == pytest.approx(min(1, told["asked"] * stranger["directions"] * of_pair), rel=1e-6)
    # What it stands for: so often do random directions of that dimension come as near.
    rng = np.random.default_rng(0)
    random = rng.standard_normal((200_000, told["dimension"]))
    cosines = np.abs(random[:, 0]) / np.linalg.norm(random, axis=1)
    assert np.mean(cosines >= 0.5) == pytest.approx(betainc((told["dimension"] - 1) / 2, 0.5, 0.75), rel=0.05)


WRONG_SEARCHES = (
    {},
    {"vector": [1.0, 2.0]},
    {"vector": [1.0], "basis": "digest-of-base"},
    {"vector": [1.0] * 8, "basis": "digest-of-base"},
    {"vector": [0.0] * DIMENSION, "basis": "digest-of-base"},
    {"vector": np.ones(DIMENSION).tolist(), "basis": "nowhere"},
    {"vector": ["a"] * DIMENSION, "basis": "digest-of-base"},
    {"vector": [1e309] * DIMENSION, "basis": "digest-of-base"},
    {"audit": "0199", "vector": [1.0] * DIMENSION, "basis": "x"},
    {"direction": {"bank": "x", "ordinal": 0}},
    {"direction": {"bank": "0" * 64, "ordinal": -1}},
    {"audit": "0199", "limit": 0},
    {"path": "/etc/passwd"},
)


@pytest.mark.parametrize("body", WRONG_SEARCHES)
def test_a_search_that_makes_no_sense_is_refused(still: Api, body: object) -> None:
    answer = still.reader.post(
        "/api/v1/directions:nearest", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code in (404, 422), answer.text


def test_an_analyzer_is_shown_with_its_schema(still: Api) -> None:
    (shown,) = still.get("/analyzers")["items"]
    assert shown == still.get("/analyzers/svd-diff") == still.get("/analyzers/svd-diff", version=1)
    assert still.get("/analyzers/svd-diff/schema")["properties"]["max_rank"]["default"] == 20
    assert still.admin.get("/api/v1/analyzers/none").status_code == 404
    assert still.admin.get("/api/v1/analyzers/svd-diff", params={"version": 7}).status_code == 404


def test_triage_asks_for_what_belongs_to_a_state(api: Api) -> None:
    where = f"/api/v1/findings/{api.planted.finding}/triage"
    triager = api.clients["triage"]
    for body in (
        {"state": "not_affected"},
        {"state": "false_positive"},
        {"state": "exploitable", "justification": "code_not_present"},
        {"state": "in_triage", "expires_at": "2000-01-01T00:00:00Z"},
        {"state": "in_triage", "expires_at": "2999-01-01T00:00:00"},
        {"state": "guilty"},
        {"state": "in_triage", "comment": "x" * 10_001},
    ):
        assert triager.post(where, json=body).status_code == 422, body
    said = {"state": "not_affected", "justification": "code_not_reachable", "expires_at": "2999-01-01T00:00:00Z"}
    answer = triager.post(where, json=said)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["counts"]) == ("not_affected", False)
    assert api.get("/findings", state="not_affected")["items"][0]["fingerprint"] == answer.json()["fingerprint"]


def test_a_suppression_ends_and_stays_on_record(api: Api) -> None:
    where = f"/api/v1/suppressions/{api.planted.suppression}"
    ended = api.clients["triage"].delete(where)
    assert (ended.status_code, ended.json()["active"], ended.json()["ended_by"]) == (200, False, "token:triage")
    assert api.reader.get(where).json() == ended.json()
    assert api.get("/suppressions", active=True)["items"] == []


def test_registries_keep_their_passwords(api: Api) -> None:
    from registry_auditor.store import Watched

    address = "mlflow:http://user:battery-staple@mlflow.test"
    api.store.watched.save(Watched(address, problem=f"{address[7:]} cannot be reached"))
    api.store.sightings.record(TUNED, registry=address, skipped="x")
    for path in ("/registries", "/sightings"):
        text = api.reader.get(f"/api/v1{path}").text
        assert "mlflow.test" in text
        assert "battery-staple" not in text
