"""The application refuses to start where it would be open, and starts without what is heavy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import httpx2
import pytest

from registry_auditor.api.app import create_app
from registry_auditor.config import Hook, Settings
from registry_auditor.errors import UsageError
from tests.api.conftest import serving
from tests.api.senders import from_hub

HEAVY = ("torch", "transformers", "celery", "kombu", "huggingface_hub", "mlflow", "registry_auditor.registries")

LATER = ("alembic", "cyclonedx", "jsonschema", "limits", "prometheus_client", "rich", "scipy", "securesystemslib")
"""What is loaded when somebody asks for it, so that the start is short."""


def test_nothing_heavy_is_imported() -> None:
    script = f"""
import sys
from registry_auditor.api.app import create_app
from registry_auditor.cli.serve import serve
loaded = [name for name in {HEAVY + LATER} if name in sys.modules]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def refusal(make: Callable[..., Settings], url: str, **hooks: Hook) -> str:
    with pytest.raises(UsageError) as refused:
        create_app(make(url, hooks=hooks))
    return str(refused.value)


def test_every_missing_secret_is_named(
    settings: Callable[..., Settings], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("BLANK", "  \n")
    message = refusal(
        settings,
        sqlite_url,
        a=Hook(source="hf", secret_env=["ABSENT"]),
        b=Hook(source="mlflow", secret_env=["MLFLOW_SECRET", "EMPTY"]),
        c=Hook(source="standard", secret_env=["BLANK"]),
        d=Hook(source="hf", secret_env=["HUB_SECRET"]),
    )
    assert all(name in message for name in ("ABSENT", "EMPTY", "BLANK"))
    assert "MLFLOW_SECRET" not in message
    assert "hook d" not in message


def faults(short: str) -> dict[str, tuple[str, Hook, str]]:
    return {
        "too short": ("name", Hook(source="hf", secret_env=[short]), "shorter than 16"),
        "no base64": ("name", Hook(source="standard", secret_env=[short]), "whsec_"),
        "no secret at all": ("name", Hook(source="hf", secret_env=[]), "without a secret"),
        "a name with a slash": ("a/b", Hook(source="hf", secret_env=["HUB_SECRET"]), "part of an address"),
        "another registry": (
            "name",
            Hook(source="standard", secret_env=["STANDARD_SECRET"], registry="dir:/elsewhere"),
            "not watched",
        ),
    }


@pytest.mark.parametrize("fault", faults(""))
def test_hooks_that_cannot_work_are_refused(
    settings: Callable[..., Settings], sqlite_url: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("SHORT", "pass-word")
    name, hook, reason = faults("SHORT")[fault]
    message = refusal(settings, sqlite_url, **{name: hook})
    assert reason in message
    assert "pass-word" not in message


def test_without_hooks_it_starts_on_the_store_of_the_settings(
    settings: Callable[..., Settings], sqlite_url: str
) -> None:
    with serving(create_app(settings(sqlite_url, hooks={}))) as port:
        assert httpx2.get(f"http://127.0.0.1:{port}/health").json()["status"] == "ok"
        assert httpx2.post(f"http://127.0.0.1:{port}{from_hub().path}").status_code == 401
