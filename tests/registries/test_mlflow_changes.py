"""What a real MLflow server shows from a cursor on, and what is a problem there."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_auditor.domain import BaseSource
from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.claims import Claim
from registry_auditor.registries.mlflow import OVERLAP_MS, MlflowRegistry
from tests.registries import mlflow_server
from tests.registries.mlflow_between import between
from tests.registries.mlflow_server import folder_with


def test_a_claim_and_a_listing_transfer_no_weights(mlflow_url: str, unique: str, base: Path, tmp_path: Path) -> None:
    mlflow_server.register(
        mlflow_url, unique, folder_with(tmp_path / "model", base, "", card="---\nbase_model: x/y\n---\n")
    )
    with between(mlflow_url) as server:
        mlflow = MlflowRegistry(server.url, cache=Cache(tmp_path / "cache"))
        ref = mlflow.resolve(unique)
        assert mlflow.claim(ref) == Claim("x/y", BaseSource.CARD)
        assert ref in [change.model for change in mlflow.changes()]
        assert any("README.md" in path for path in server.asked)
        assert not [path for path in server.asked if "safetensors" in path]
        with mlflow.open(ref):
            pass
        transfers = len(server.asked)
        with mlflow.open(ref):
            assert len(server.asked) == transfers, "what is in the cache is asked for again"


def test_changes_come_oldest_first_and_go_on_after_the_cursor(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path
) -> None:
    for name in ("a", "b", "a"):
        mlflow_server.register(mlflow_url, f"{unique} {name}", base)
    ours = [change for change in mlflow.changes() if change.model.name.startswith(unique)]
    assert [(change.model.name[-1], (change.model.revision or "")[0]) for change in ours] == [
        ("a", "1"), ("b", "1"), ("a", "2"),
    ]  # fmt: skip
    assert not [change for change in ours if change.problem]
    assert ours[-1].cursor is not None
    later = str(int(ours[-1].cursor) + OVERLAP_MS + 1)
    assert list(mlflow.changes(later)) == []
    mlflow_server.client(mlflow_url).update_model_version(f"{unique} b", "1", description="changed")
    again = list(mlflow.changes(later))
    assert [change.model for change in again] == [ours[1].model]
    assert [change.model for change in mlflow.changes(ours[-1].cursor) if change.model == ours[1].model]


def test_every_page_is_turned(mlflow_url: str, unique: str, base: Path, tmp_path: Path) -> None:
    mlflow = MlflowRegistry(mlflow_url, cache=Cache(tmp_path / "cache"), page=2)
    for _ in range(5):
        mlflow_server.register(mlflow_url, unique, base)
    ours = [change.model for change in mlflow.changes() if change.model.name == unique]
    assert ours == [mlflow.resolve(unique, str(number)) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("status", "said"), [("PENDING_REGISTRATION", "not ready yet"), ("FAILED_REGISTRATION", "registration failed")]
)
def test_a_version_that_is_not_ready_is_shown_with_its_problem_and_holds_the_cursor(
    status: str, said: str, mlflow_url: str, mlflow: MlflowRegistry, unique: str, base: Path
) -> None:
    mlflow_server.register(mlflow_url, unique, base)
    mlflow_server.changed(f"UPDATE model_versions SET status = '{status}'")
    mlflow_server.register(mlflow_url, f"{unique} later", base)
    problem, later = (change for change in mlflow.changes() if change.model.name.startswith(unique))
    assert problem.problem is not None
    assert said in problem.problem
    assert problem.cursor == later.cursor
    with pytest.raises(RegistryError, match=said) as caught:
        mlflow.resolve(unique)
    assert isinstance(caught.value, RegistryUnavailable) == (status == "PENDING_REGISTRATION")
    mlflow_server.changed("UPDATE model_versions SET status = 'READY'")
    assert [change.problem for change in mlflow.changes(later.cursor) if change.model.name == unique] == [None]


def test_what_holds_no_weights_is_a_problem_and_prompts_are_none(
    mlflow_url: str, mlflow: MlflowRegistry, unique: str, tmp_path: Path
) -> None:
    mlflow_server.register(mlflow_url, unique, folder_with(tmp_path / "x", tmp_path, config={}))
    mlflow_server.client(mlflow_url).register_prompt(f"{unique}-prompt", "Say {{ word }}")
    shown = [change for change in mlflow.changes() if change.model.name.startswith(unique)]
    assert [(change.model.name, "holds no weights" in (change.problem or "")) for change in shown] == [(unique, True)]
    with pytest.raises(RegistryError, match=r"holds no weights that are read; register a folder"):
        mlflow.resolve(unique)
