"""What each sender says, and where we look then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.answers import is_problem
from tests.api.conftest import Service
from tests.api.senders import (
    SHA,
    about,
    from_hub,
    from_mlflow,
    from_standard,
    push,
    registered,
)

OLD_SHA = "c379e821c9c95d613899e8c4343e4bfee2b0c600"


HUB_EVENTS = {
    "a new branch and a tag": (
        push(
            updatedRefs=[
                {"ref": "refs/heads/main", "oldSha": None, "newSha": SHA},
                {"ref": "refs/heads/gguf", "oldSha": None, "newSha": OLD_SHA},
                {"ref": "refs/tags/v1", "oldSha": None, "newSha": SHA},
                {"ref": "refs/pr/7", "oldSha": None, "newSha": OLD_SHA},
            ]
        ),
        [f"hf:org/tuned@{SHA}", f"hf:org/tuned@{OLD_SHA}"],
    ),
    "a deleted branch": (push(sha=None), []),
    "a narrower scope": (
        push(event={"action": "update", "scope": "repo.content.lfs"}),
        [f"hf:org/tuned@{SHA}"],
    ),
    "a changed setting": (push(event={"action": "update", "scope": "repo.config"}, updatedConfig={}), []),
    "a comment": (push(event={"action": "create", "scope": "discussion.comment"}, updatedRefs=None), []),
    "another word": (push(event={"action": "update", "scope": "repository"}), []),
    "a deleted model": (push(event={"action": "delete", "scope": "repo"}), []),
    "a renamed model": (push(event={"action": "move", "scope": "repo"}, updatedRefs=None, movedTo={}), []),
    "a data set": (push() | {"repo": push()["repo"] | {"type": "dataset"}}, []),
    "its test of the hook": (push() | {"updatedRefs": []}, []),
}


@pytest.mark.parametrize("event", HUB_EVENTS)
def test_of_the_hub_only_new_commits_of_models_are_looked_at(on_sqlite: Service, event: str) -> None:
    body, targets = HUB_EVENTS[event]
    answer = on_sqlite.post(from_hub(body))
    assert (answer.status_code, answer.json()) == (202, {"accepted": len(targets)})
    assert sorted(map(str, on_sqlite.targets())) == sorted(targets)


def test_the_same_commit_of_another_repository_is_another_delivery(on_sqlite: Service) -> None:
    other = push("org/other")
    other["repo"]["id"] = "another"
    assert on_sqlite.post(from_hub()).status_code == on_sqlite.post(from_hub(other)).status_code == 202
    assert len(on_sqlite.targets()) == 2


MLFLOW_EVENTS = {
    "a tag": (
        registered(entity="model_version_tag", action="set", data={"name": "m", "version": "2", "key": "k"}),
        ["mlflow:m@2"],
    ),
    "an alias": (
        registered(entity="model_version_alias", data={"name": "m", "version": "3", "alias": "champion"}),
        ["mlflow:m@3"],
    ),
    "a name with spaces and signs": (registered("größtes modell @ home"), ["mlflow:größtes modell @ home@1"]),
    "a model without versions": (registered(entity="registered_model", data={"name": "m", "tags": {}}), []),
    "a prompt": (registered(entity="prompt_version"), []),
    "a removed tag": (registered(entity="model_version_tag", action="deleted"), []),
}


@pytest.mark.parametrize("event", MLFLOW_EVENTS)
def test_of_mlflow_versions_are_looked_at(on_sqlite: Service, event: str) -> None:
    body, targets = MLFLOW_EVENTS[event]
    answer = on_sqlite.post(from_mlflow(body))
    assert (answer.status_code, answer.json()) == (202, {"accepted": len(targets)})
    assert on_sqlite.targets() == targets


def test_the_test_deliveries_of_mlflow_lead_to_nothing(on_sqlite: Service) -> None:
    types = pytest.importorskip("mlflow.webhooks.types")
    for number, ((entity, action), payload) in enumerate(types.EVENT_TO_PAYLOAD_CLASS.items()):
        body = registered(entity=entity.value, action=action.value, data=payload.example())
        answer = on_sqlite.post(from_mlflow(body, delivery=f"test-{number}"))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 0})
    assert on_sqlite.targets() == []


def test_anything_else_may_name_a_model_or_a_watched_folder_or_nothing(on_sqlite: Service, models: Path) -> None:
    (models / "here").mkdir()
    named = ["hf:org/name@main", "mlflow:name@7", "mlflow:name", f"dir:{models}/here", f"dir:{models}/./here/"]
    for number, model in enumerate([*named, None]):
        answer = on_sqlite.post(from_standard(about(model), delivery=str(number)))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    assert on_sqlite.targets() == [*named[:4], f"dir:{models}/here", f"dir:{models}"]


@pytest.mark.parametrize("outside", ["/etc", "{models}/../secret", "{models}/link", "{models}-secret", "relative"])
def test_no_delivery_leads_out_of_the_watched_folders(on_sqlite: Service, models: Path, outside: str) -> None:
    if not (models / "link").exists():
        (models / "link").symlink_to("/etc")
    answer = on_sqlite.post(from_standard(about("dir:" + outside.format(models=models))))
    assert is_problem(answer, 400)
    assert on_sqlite.targets() == []
