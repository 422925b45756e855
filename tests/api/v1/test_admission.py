"""Nobody gets the server, or a worker, to open what no configured registry shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.domain import ModelRef, Scope
from tests.api.v1.conftest import Api, Open


def ask(api: Api, model: str, **more: Any) -> Any:
    return api.clients[Scope.SUBMIT].post("/api/v1/audits", json={"model": model, **more})


@pytest.fixture
def watched(open_api: Open, tmp_path: Path) -> Api:
    (tmp_path / "models" / "tuned").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "models" / "out").symlink_to(tmp_path / "secret")
    return open_api()


def test_what_a_watched_registry_has_is_queued(watched: Api, tmp_path: Path) -> None:
    for model in (f"dir:{tmp_path}/models/tuned", "hf:org/anything", "hf:org/anything@main"):
        answer = ask(watched, model)
        assert answer.status_code == 202, answer.text
        made = answer.json()
        assert answer.headers["location"] == f"/api/v1/audits/{made['id']}"
        assert (made["model"]["ref"], made["state"], made["verdict"]) == (model, "queued", None)
        assert watched.get(f"/audits/{made['id']}") == made


def test_a_folder_that_leads_out_is_refused(watched: Api, tmp_path: Path) -> None:
    before = len(watched.store.audits(limit=500).items)
    for path in (
        f"{tmp_path}/models/out",
        f"{tmp_path}/models/../secret",
        f"{tmp_path}/secret",
        f"{tmp_path}/models-too",
        "/etc",
        "models/tuned",
        "~/models",
        "//etc/passwd",
        "/proc/self/root/etc",
        f"{tmp_path}/models/tuned\0/../../../etc",
    ):
        answer = ask(watched, f"dir:{path}")
        assert answer.status_code == 422, path
    assert len(watched.store.audits(limit=500).items) == before


STRANGERS = (
    "hf:other/model",
    "hf:organisation/model",
    "hf:../../etc/passwd",
    "hf:org/..",
    "hf:org/a/b",
    "hf:http://169.254.169.254/latest",
    "hf:org/name@../../refs",
    "hf:org/name@main?x=y",
    "mlflow:model@1",
    "mlflow:http://169.254.169.254/",
    "http://169.254.169.254/latest/meta-data",
    "https://evil.test/model",
    "file:///etc/passwd",
    "s3:bucket/key",
    "gopher:x",
    "org/name",
    "",
    ":",
    "hf:",
    "hf:org/name\n",
    "hf:org/\ud800",
)


@pytest.mark.parametrize("model", STRANGERS)
def test_what_no_watched_registry_has_is_refused(watched: Api, model: str) -> None:
    for body in ({"model": model}, {"model": "hf:org/tuned", "base": model}):
        headers = {"content-type": "application/json"}
        answer = watched.clients[Scope.SUBMIT].post("/api/v1/audits", content=json.dumps(body), headers=headers)
        assert answer.status_code == 422, answer.text


def test_the_setting_that_would_admit_it_is_named(watched: Api) -> None:
    assert (
        "add hf:other or hf:other/model, to the setting registries" in ask(watched, "hf:other/model").json()["detail"]
    )
    assert "mlflow:URL" in ask(watched, "mlflow:model@1").json()["detail"]
    told = ask(watched, "hf:org/tuned", base="hf:other/base").json()["detail"]
    assert told.startswith("base: no watched registry shows hf:other/base")


def test_mlflow_models_are_admitted_where_mlflow_is_watched(open_api: Open) -> None:
    api = open_api(registries=["mlflow:http://127.0.0.1:5000"])
    assert ask(api, "mlflow:my model@7").status_code == 202
    assert ask(api, "mlflow:http://evil.test/x").status_code == 422


def test_what_a_watched_selection_has_shown_is_admitted(open_api: Open) -> None:
    """Of `hf:base_model:…` no author is known: what it showed is."""
    api = open_api(registries=["hf:org", "hf:base_model:meta/llama"])
    assert ask(api, "hf:somebody/llama-tuned").status_code == 422
    api.store.sightings.record(ModelRef("hf", "somebody/llama-tuned", "7e6f"), registry="hf:base_model:meta/llama")
    assert ask(api, "hf:somebody/llama-tuned").status_code == 202


def test_what_was_shown_by_a_registry_that_is_watched_no_more_is_refused(open_api: Open) -> None:
    assert ask(open_api(registries=["dir:/models"]), "hf:org/tuned").status_code == 422


def test_analyzers_are_asked_for_by_name(watched: Api) -> None:
    answer = ask(watched, "hf:org/wished", analyzers={"svd-diff": {"max_rank": 5}}, fail_on="low", base="hf:org/base")
    assert answer.status_code == 202
    audit = watched.store.audit(answer.json()["id"])
    assert audit.job.wish == {"svd-diff": {"max_rank": 5}}
    assert (audit.job.fail_on, str(audit.job.base)) == ("low", "hf:org/base")


@pytest.mark.parametrize("value", ["NaN", "1e999", '"\\ud800"', "9" * 400, "[" * 600 + "]" * 600, '{"a": 1}'])
def test_a_parameter_that_no_analyzer_can_have_is_refused(still: Api, value: str) -> None:
    body = f'{{"model": "hf:org/tuned", "analyzers": {{"svd-diff": {{"max_rank": {value}}}}}}}'
    headers = {"content-type": "application/json"}
    assert still.clients[Scope.SUBMIT].post("/api/v1/audits", content=body, headers=headers).status_code == 422


def test_cancelling_ends_it_once(api: Api) -> None:
    submitter = api.clients[Scope.SUBMIT]
    where = f"/api/v1/audits/{api.planted.queued.id}:cancel"
    ended = submitter.post(where)
    assert (ended.status_code, ended.json()["verdict"]) == (200, "incomplete")
    assert "token:submit" in ended.json()["reason"]
    assert submitter.post(where).status_code == 409
    assert submitter.post(f"/api/v1/audits/{api.planted.after.id}:cancel").status_code == 409
