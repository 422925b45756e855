"""What the OpenAPI document says holds: schemathesis asks every operation for all sorts of things."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from registry_auditor.api import v1
from registry_auditor.api.app import create_app
from registry_auditor.config import Settings
from registry_auditor.domain import Scope
from registry_auditor.store import Store
from tests.api.v1.conftest import Api
from tests.api.v1.planted import Planted

EXAMPLES = settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def asked(planted_file: tuple[Path, Planted], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One application for all operations: what they write stays in it."""
    folder, planted = planted_file
    copy = tmp_path_factory.mktemp("asked") / "store"
    shutil.copytree(folder, copy)
    chosen = Settings(db=f"sqlite:///{copy}/auditor.db", registries=["hf:org"])
    with Store.open(chosen.db) as store:
        yield Api(create_app(chosen, store), store, planted)


@pytest.fixture(scope="module")
def document(asked: Api) -> Any:
    loaded = schemathesis.openapi.from_asgi("/api/v1/openapi.json", asked.app)
    loaded.config.generation.with_security_parameters = False  # the tests say who asks
    return loaded


def operations() -> list[tuple[str, str]]:
    """Path and method of every route of the API."""
    bare = FastAPI()
    v1.install(bare)
    return [(path, method) for path, methods in bare.openapi()["paths"].items() for method in methods]


NOT_SAID = [
    ignored_auth,  # asks again without the header that we pass, which it cannot take away
    positive_data_acceptance,  # no schema tells a place in a list, an expiry to come, a folder that is watched
]


def ask_all_sorts(operation: Any, mode: GenerationMode, check: Callable[[Any, Any], None]) -> None:
    """Call `check` with requests that fit the document, or (negative) that do not."""

    @given(case=operation.as_strategy(generation_mode=mode), data=strategies.data())
    @EXAMPLES
    def ask(case: Any, data: Any) -> None:
        check(case, data)

    ask()


@pytest.mark.parametrize(("path", "method"), operations())
def test_what_fits_and_what_does_not_is_answered_as_promised(document: Any, asked: Api, path: str, method: str) -> None:
    headers = {"authorization": f"Bearer {asked.planted.secrets[Scope.ADMIN]}"}

    def aimed(case: Any, data: Any) -> None:
        aim(case, asked.planted, data)
        case.call_and_validate(headers=headers, excluded_checks=NOT_SAID)

    def missed(case: Any, _: Any) -> None:
        case.call_and_validate(headers=headers, excluded_checks=NOT_SAID)

    ask_all_sorts(document[path][method], GenerationMode.POSITIVE, aimed)
    asked_for = document[path][method].definition.raw
    if "parameters" in asked_for or "requestBody" in asked_for:
        ask_all_sorts(document[path][method], GenerationMode.NEGATIVE, missed)


@pytest.mark.parametrize(("path", "method"), operations())
def test_strangers_are_answered_as_promised(document: Any, asked: Api, path: str, method: str) -> None:
    def stranger(case: Any, data: Any) -> None:
        aim(case, asked.planted, data)
        answer = case.call_and_validate(excluded_checks=NOT_SAID)
        assert answer.status_code in (401, 422, 429), answer.text

    ask_all_sorts(document[path][method], GenerationMode.POSITIVE, stranger)


def aim(case: Any, planted: Planted, data: Any) -> None:
    """Most of the time at something that there is: no generator hits upon an id."""
    known = {
        "audit_id": (planted.after.id, planted.queued.id),
        "finding_id": (planted.finding,),
        "model_id": (planted.model,),
        "name": ("svd-diff",),
        "sha256": (planted.bank,),
        "suppression_id": (planted.suppression,),
        "token_id": (planted.token,),
    }
    for name in case.path_parameters or {}:
        if data.draw(strategies.integers(0, 3)):
            case.path_parameters[name] = data.draw(strategies.sampled_from(known[name]))
