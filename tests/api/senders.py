"""The three senders: what they put into a request, signed as they sign it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from registry_auditor.api.signatures import mlflow_signature

HUB_SECRET = "hub-secret-of-thirty-two-letters"
MLFLOW_SECRET = "mlflow-secret-of-thirty-two-signs"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "c2VjcmV0LW9mLXNvbWVib2R5LWVsc2UtZW50aXJlbHk="
SHA = "575db8b7a51b6f85eb06eee540738584589f131c"


@dataclass(frozen=True)
class Sent:
    """A request to a hook."""

    path: str
    headers: dict[str, str]
    body: bytes

    def without(self, header: str) -> Sent:
        return replace(self, headers={name: value for name, value in self.headers.items() if name != header})

    def having(self, **headers: str) -> Sent:
        return replace(self, headers=self.headers | {name.replace("_", "-"): value for name, value in headers.items()})


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def push(name: str = "org/tuned", sha: str | None = SHA, **changes: Any) -> dict[str, Any]:
    """What the Hub says of a push, as its documentation shows it; `changes` replace top-level entries."""
    return {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {
            "type": "model",
            "name": name,
            "id": "6366c000a2abcdf2fd69a080",
            "private": False,
            "url": {"web": f"https://hub.test/{name}", "api": f"https://hub.test/api/models/{name}"},
            "headSha": "c379e821c9c95d613899e8c4343e4bfee2b0c600",
            "tags": ["license:other"],
            "owner": {"id": "61d2000c3c2083e1c08af22d"},
        },
        "webhook": {"id": "6390e855e30d9209411de93b", "version": 3},
        "updatedRefs": [{"ref": "refs/heads/main", "oldSha": None, "newSha": sha}],
    } | changes


def from_hub(body: Any = None, *, secret: str = HUB_SECRET, hook: str = "hub") -> Sent:
    headers = {"content-type": "application/json", "x-webhook-secret": secret}
    return Sent(f"/hooks/hf/{hook}", headers, _bytes(push() if body is None else body))


def registered(name: str = "demo model", version: str = "1", **changes: Any) -> dict[str, Any]:
    """What MLflow says of a new version, as a server has sent it."""
    return {
        "entity": "model_version",
        "action": "created",
        "timestamp": "2026-11-23T16:27:21.461080+00:00",
        "data": {
            "name": name,
            "version": version,
            "source": "runs:/041a9039db834de182199c5f862b264d/model",
            "run_id": "041a9039db834de182199c5f862b264d",
            "tags": {"base_model": "demo base"},
            "description": None,
        },
    } | changes


def from_mlflow(
    body: Any = None,
    *,
    secret: str = MLFLOW_SECRET,
    hook: str = "mlflow",
    delivery: str = "48e56391-9e3d-4bea-83d8-c7dbf1a5ddc9",
    age_s: int = 0,
) -> Sent:
    raw = _bytes(registered() if body is None else body)
    sent_at = str(int(time.time()) - age_s)
    headers = {
        "content-type": "application/json",
        "x-mlflow-delivery-id": delivery,
        "x-mlflow-timestamp": sent_at,
        "x-mlflow-signature": mlflow_signature(secret, delivery, sent_at, raw).decode(),
    }
    return Sent(f"/hooks/mlflow/{hook}", headers, raw)


def about(model: str | None) -> dict[str, Any]:
    """A Standard Webhooks payload about a model."""
    return {"type": "model.updated", "timestamp": "2026-11-23T16:27:21Z", "data": {"model": model} if model else {}}


def from_standard(
    body: Any = None,
    *,
    secret: str = STANDARD_SECRET,
    hook: str = "other",
    delivery: str = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
    age_s: int = 0,
) -> Sent:
    raw = _bytes(about("hf:org/tuned") if body is None else body)
    sent_at = datetime.fromtimestamp(int(time.time()) - age_s, UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(secret).sign(delivery, sent_at, raw.decode("utf-8", "surrogateescape")),
    }
    return Sent(f"/hooks/standard/{hook}", headers, raw)


SENDERS: dict[str, Callable[..., Sent]] = {"hf": from_hub, "mlflow": from_mlflow, "standard": from_standard}
