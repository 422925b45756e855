"""What a delivery is about. It only says where to look: everything else is read from the registry itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry_auditor.domain import digest_of

HUB_NAME = r"(?!.*(?:--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
HUB_REVISION = r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}"
TARGETS = {
    "hf": rf"{HUB_NAME}(?:@{HUB_REVISION})?",
    "mlflow": r"(?![@ ])[^/:]{1,300}",  # what MLflow allows in a name; the last @ begins a version or alias
    "dir": r"/.{0,4095}",
}
"""For every registry, how a model of it is written."""


@dataclass(frozen=True)
class Hint:
    """A place to look at."""

    key: str
    """Equal for the same delivery, however often it comes."""
    target: str | None
    """A model, as `resolve` takes it; None: the registry of the hook."""


class Malformed(Exception):
    """A body that its sender should not have sent."""


def read(source: str, body: bytes, delivery: str) -> list[Hint]:
    """Where a verified `body` says to look; nothing if the event leads to no audit.

    Raises:
        Malformed: if it is no JSON, or not of the shape that `source` sends.
    """
    try:
        return READERS[source](body, delivery)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{place}: {first['msg']}" if place else first["msg"]) from None


def checked(target: str) -> str:
    """`target`, if a model may be called so. Raises Malformed otherwise."""
    registry, _, name = target.partition(":")
    pattern = TARGETS.get(registry)
    # isprintable: no NUL, which PostgreSQL cannot store, and nothing that writes to a terminal
    if pattern is None or not target.isprintable() or not re.fullmatch(pattern, name):
        raise Malformed(f"{target[:200]!a} is no model such as hf:org/name, mlflow:name@7 or dir:/models/name")
    return target


class _Event(BaseModel):
    """Only what is used; senders may add whatever they like."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _HubEvent(_Event):
    action: str
    scope: str


class _HubRepo(_Event):
    type: str
    name: str
    id: str


class _HubRef(_Event):
    ref: str
    new_sha: str | None = Field(None, alias="newSha")


class _HubPayload(_Event):
    event: _HubEvent
    repo: _HubRepo
    refs: list[_HubRef] | None = Field(None, alias="updatedRefs")


def _from_hub(body: bytes, _delivery: str) -> list[Hint]:
    """One hint for every commit that a branch was moved to."""
    given = _HubPayload.model_validate_json(body)
    broad, _, narrower = given.event.scope.partition(".")
    # The Hub may invent narrower scopes, which count as the broader one.
    about_content = broad == "repo" and narrower.partition(".")[0] in ("", "content")
    if given.repo.type != "model" or not about_content or given.event.action == "delete":
        return []
    return [
        Hint(digest_of([given.repo.id, ref.ref, ref.new_sha]), _commit(given.repo.name, ref.new_sha))
        for ref in given.refs or []
        if ref.new_sha is not None and ref.ref.startswith("refs/heads/")  # a pull request is nobody's model yet
    ]


def _commit(name: str, sha: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", sha):
        raise Malformed(f"{sha[:200]!a} is no commit")
    return checked(f"hf:{name}@{sha}")


class _MlflowEvent(_Event):
    entity: str
    action: str
    data: dict[str, Any]


class _MlflowVersion(_Event):
    name: str
    version: str = Field(pattern=r"^[0-9]{1,18}$")


MLFLOW_EVENTS = {("model_version", "created"), ("model_version_tag", "set"), ("model_version_alias", "created")}
"""What may lead to an audit: a version is there, or says something else about its base, or is about to be used."""

MLFLOW_EXAMPLE = ("example_model", {"run_id": "abcd1234abcd5678", "key": "example_key", "alias": "example_alias"})
"""What `MlflowClient.test_webhook` sends: this name, and one of these values."""


def _from_mlflow(body: bytes, delivery: str) -> list[Hint]:
    """A hint for the version that was made, tagged or given an alias."""
    event = _MlflowEvent.model_validate_json(body)
    if (event.entity, event.action) not in MLFLOW_EVENTS or _is_example(event.data):
        return []
    version = _MlflowVersion.model_validate(event.data)
    return [Hint(delivery, checked(f"mlflow:{version.name}@{version.version}"))]


def _is_example(data: dict[str, Any]) -> bool:
    name, values = MLFLOW_EXAMPLE
    return data.get("name") == name and any(data.get(key) == value for key, value in values.items())


class _StandardData(_Event):
    model: str | None = None


class _StandardEvent(_Event):
    type: str
    data: _StandardData | None = None


def _from_standard(body: bytes, delivery: str) -> list[Hint]:
    """A hint for the model that is named, or for the registry of the hook."""
    event = _StandardEvent.model_validate_json(body)
    model = event.data.model if event.data else None
    return [Hint(delivery, None if model is None else checked(model))]


READERS: dict[str, Callable[[bytes, str], list[Hint]]] = {
    "hf": _from_hub,
    "mlflow": _from_mlflow,
    "standard": _from_standard,
}
