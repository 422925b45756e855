"""Talking to an MLflow server: bounded waits, errors in our words, and no password in any of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from registry_auditor.errors import RegistryError, RegistryUnavailable, UsageError
from registry_auditor.weights.folder import printable

PATIENCE = {
    # By itself the client tries for several minutes, and waits as long as a server tells it to: a watcher would hang.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    # Results go to stdout and progress to our own log; an auditor tells nobody what it looks at.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Settings of the client where the environment has none."""

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_SHOWN_CHARACTERS = 300
_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"})
_DENIED = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})
_FINAL = frozenset({"BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "NOT_IMPLEMENTED", "FEATURE_DISABLED"})
"""Asking once more would give the same answer; whatever is not named here may pass."""
_OBJECT_STORE_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("google.api_core.exceptions", "GoogleAPIError"),
    ("azure.core.exceptions", "AzureError"),
)
_REMEDY = "check MLFLOW_TRACKING_URI, and that the server runs"


class NotThere(RegistryError):
    """The server knows no model, version, alias or artifact of that name."""


@dataclass(frozen=True)
class Server:
    """Where models are registered, and where their runs and artifacts are kept; mostly the same server."""

    registry_uri: str
    tracking_uri: str

    @property
    def shown(self) -> str:
        """Its address without user and password."""
        return without_password(self.registry_uri)

    def client(self) -> Any:
        """A client of this server. Raises UsageError if the extra is not installed."""
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise UsageError(
                f"models of MLflow need its client ({error}); run: pip install 'registry-auditor[mlflow]'"
            ) from error
        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.registry_uri)


def server(uri: str | None) -> Server:
    """The server at `uri`, or the one that the environment names. Raises UsageError if neither does."""
    tracking = uri or os.environ.get("MLFLOW_TRACKING_URI")
    registry = uri or os.environ.get("MLFLOW_REGISTRY_URI") or tracking
    if not registry:
        # The client would fall back to a database in the current folder, and create it.
        raise UsageError("no MLflow server is named; set MLFLOW_TRACKING_URI, or name it: mlflow:http://host:5000")
    return Server(registry.rstrip("/"), (tracking or registry).rstrip("/"))


def without_password(text: str) -> str:
    """`text` without the user and password of any address in it."""
    return _USERINFO.sub("", text)


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Whatever the client raises, as a RegistryError that begins with `what`.

    NotThere for what the server does not know, RegistryUnavailable for what may pass.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except MlflowException as error:
        raise _translated(what, error.error_code, _first_line(error)) from error
    except RequestException as error:
        status = None if error.response is None else error.response.status_code
        raise _translated(what, _CODES.get(status or 0, "UNNAMED"), _first_line(error)) from error
    except ModuleNotFoundError as error:
        raise RegistryError(
            f"{what}: its artifacts are kept where {error.name} is needed to read them; run: pip install {error.name}"
        ) from error
    except _object_store_errors() as error:
        raise _translated(what, "UNNAMED", _first_line(error)) from error


def _object_store_errors() -> tuple[type[Exception], ...]:
    """Those of the packages that the client has loaded; they share no base class, and none needs to be installed."""
    return tuple(getattr(sys.modules[module], name) for module, name in _OBJECT_STORE_ERRORS if module in sys.modules)


_CODES = {400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


def _translated(what: str, code: str, said: str) -> RegistryError:
    if code in _ABSENT:
        return NotThere(f"{what}: the MLflow server has no such thing ({said}); check the name and the version")
    if code in _DENIED:
        return RegistryError(
            f"{what}: the MLflow server refuses ({said}); check MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD"
        )
    if code in _FINAL:
        return RegistryError(f"{what}: the MLflow server says no ({said})")
    return RegistryUnavailable(f"{what}: the MLflow server does not answer as it should ({said}); {_REMEDY}")


def _first_line(error: Exception) -> str:
    lines = without_password(str(error)).strip().splitlines() or [type(error).__name__]
    return printable(lines[0][:_SHOWN_CHARACTERS])
