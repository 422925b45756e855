"""The API over a planted store, asked without a network in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from registry_auditor.api.app import create_app
from registry_auditor.config import Settings
from registry_auditor.domain import Scope
from registry_auditor.store import Store
from tests.api.v1.planted import Planted, plant

ADDRESS = "http://127.0.0.1:8321"


class Api:
    """The application, what is in its store, and people who ask."""

    def __init__(self, app: FastAPI, store: Store, planted: Planted) -> None:
        self.app = app
        self.store = store
        self.planted = planted
        self.stranger = TestClient(app, base_url=ADDRESS, raise_server_exceptions=False)
        self.clients = {scope: self.as_(secret) for scope, secret in planted.secrets.items()}

    def as_(self, secret: str) -> TestClient:
        """Somebody with this token."""
        headers = {"authorization": f"Bearer {secret}"}
        return TestClient(self.app, base_url=ADDRESS, headers=headers, raise_server_exceptions=False)

    @property
    def reader(self) -> TestClient:
        return self.clients[Scope.READ]

    @property
    def admin(self) -> TestClient:
        return self.clients[Scope.ADMIN]

    def get(self, path: str, **params: Any) -> Any:
        """What an administrator is told."""
        answer = self.admin.get(f"/api/v1{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def planted_file(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> tuple[Path, Planted]:
    """A folder with a planted database and its bank files; nobody writes into it."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(migrated, folder / "auditor.db")
    with Store.open(f"sqlite:///{folder}/auditor.db") as store:
        return folder, plant(store)


@pytest.fixture(scope="session")
def still(planted_file: tuple[Path, Planted], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One application for all tests that write nothing."""
    folder, planted = planted_file
    copy = tmp_path_factory.mktemp("still") / "store"
    shutil.copytree(folder, copy)
    settings = Settings(db=f"sqlite:///{copy}/auditor.db", registries=["hf:org"])
    with Store.open(settings.db) as store:
        yield Api(create_app(settings, store), store, planted)


Open = Callable[..., Api]


@pytest.fixture
def open_api(tmp_path: Path, planted_file: tuple[Path, Planted]) -> Iterator[Open]:
    """A function that makes the application with these settings, over a copy of the planted store."""
    folder, planted = planted_file
    shutil.copytree(folder, tmp_path / "store")
    settings = {"db": f"sqlite:///{tmp_path}/store/auditor.db", "registries": ["hf:org", f"dir:{tmp_path}/models"]}
    with Store.open(settings["db"]) as store:

        def make(*, open_to_all: bool = False, **changes: Any) -> Api:
            return Api(create_app(Settings(**settings | changes), store, open_to_all=open_to_all), store, planted)

        yield make


@pytest.fixture
def api(open_api: Open) -> Api:
    """The application over a planted store of its own."""
    return open_api()


@pytest.fixture
def sent_by() -> Callable[..., list[str]]:
    """A function that calls another one, and tells the SQL statements that a store sends meanwhile."""

    def note_down(store: Store, work: Callable[[], object]) -> list[str]:
        statements: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if not statement.startswith("BEGIN"):
                statements.append(statement)

        sa.event.listen(store._engine, "before_cursor_execute", note)
        try:
            work()
        finally:
            sa.event.remove(store._engine, "before_cursor_execute", note)
        return statements

    return note_down
