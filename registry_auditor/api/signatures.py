"""Who really sent this? One function a source; none parses the body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence

from standardwebhooks import Webhook, WebhookVerificationError

TOLERANCE_S = 300
"""How far the clock of a sender may be off. Source: the Standard Webhooks specification, which MLflow follows."""
MAX_ID_CHARACTERS = 200

Secrets = Sequence[str]
Headers = Mapping[str, str]
"""With names in lower case."""


def from_hub(secrets: Secrets, headers: Headers, body: bytes) -> bool:
    """Whether `X-Webhook-Secret` is one of `secrets`: the Hub signs nothing."""
    given = headers.get("x-webhook-secret", "").encode("latin-1")
    # All are compared, so that the time tells nothing about which one came close.
    return any([hmac.compare_digest(given, secret.encode()) for secret in secrets])


def from_mlflow(secrets: Secrets, headers: Headers, body: bytes) -> bool:
    """Whether `X-MLflow-Signature` is `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, and recent."""
    sent_at = headers.get("x-mlflow-timestamp", "")
    delivery = delivery_id("mlflow", headers)
    if not delivery or not re.fullmatch(r"[0-9]{1,12}", sent_at) or abs(time.time() - int(sent_at)) > TOLERANCE_S:
        return False
    given = headers.get("x-mlflow-signature", "").encode("latin-1")
    return any([hmac.compare_digest(given, mlflow_signature(secret, delivery, sent_at, body)) for secret in secrets])


def mlflow_signature(secret: str, delivery: str, sent_at: str, body: bytes) -> bytes:
    """What MLflow puts into `X-MLflow-Signature`."""
    digest = hmac.digest(secret.encode(), f"{delivery}.{sent_at}.".encode() + body, hashlib.sha256)
    return b"v1," + base64.b64encode(digest)


def from_standard(secrets: Secrets, headers: Headers, body: bytes) -> bool:
    """Whether one of the signatures in `webhook-signature` is right, and recent.

    Source: the Standard Webhooks specification, https://www.standardwebhooks.com.
    """
    return bool(delivery_id("standard", headers)) and any([_verifies(secret, headers, body) for secret in secrets])


def _verifies(secret: str, headers: Headers, body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: a signature without a comma, or no base64
        return False
    return True


GENUINE: dict[str, Callable[[Secrets, Headers, bytes], bool]] = {
    "hf": from_hub,
    "mlflow": from_mlflow,
    "standard": from_standard,
}
"""For every source, whether a request comes from somebody who knows one of the secrets."""

DELIVERY_ID = {"mlflow": "x-mlflow-delivery-id", "standard": "webhook-id"}
"""The header in which a source tells a delivery from its repetition; it is signed."""


def delivery_id(source: str, headers: Headers) -> str:
    """What the sender calls this delivery; empty if it says nothing, or nothing sensible."""
    given = headers.get(DELIVERY_ID.get(source, ""), "")
    return given if len(given) <= MAX_ID_CHARACTERS and given.isprintable() else ""


def weakness(source: str, secret: str) -> str | None:
    """Why `secret` cannot be one; None if it can."""
    if source != "standard":
        # 16 random letters and digits are 95 bits
        return None if len(secret) >= 16 else "is shorter than 16 characters"
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return "is not `whsec_` and base64"
    return None if len(key) >= 24 else "holds less than the 24 bytes that the specification asks for"
