"""What the OpenAPI document says holds: schemathesis asks every operation for all sorts of things."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth

from registry_auditor.api import v1
from registry_auditor.api.app import create_app
from registry_auditor.config import Settings
from registry_auditor.store import Store
from registry_auditor.store.access import Scope
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
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", asked.app)


def operations() -> list[tuple[str, str]]:
    """Path and method of every route of the API."""
    bare = FastAPI()
    bare.include_router(v1.router())
    return [(path, method) for path, methods in bare.openapi()["paths"].items() for method in methods]


MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


@pytest.mark.parametrize(("path", "method"), operations())
def test_who_may_do_everything_gets_what_the_document_promises(
    document: Any, asked: Api, path: str, method: str
) -> None:
    headers = {"authorization": f"Bearer {asked.planted.secrets[Scope.ADMIN]}"}
    for mode in MODES:

        @given(case=document[path][method].as_strategy(generation_mode=mode), data=strategies.data())
        @EXAMPLES
        def ask(case: Any, data: Any) -> None:
            aim(case, asked.planted, data)
            case.call_and_validate(headers=headers, excluded_checks=[ignored_auth])

        ask()


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
