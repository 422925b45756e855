"""What a real MLflow server has signed, and what can be a secret."""

from __future__ import annotations

import pytest

from registry_auditor.api.signatures import mlflow_signature, weakness

RECORDED = [
    (
        "e89555ec-7b66-4f26-b9e2-5d1e7920e4cf",
        b'{"entity": "registered_model", "action": "created", "timestamp": "2026-11-23T16:27:21.215210+00:00", '
        b'"data": {"name": "demo model", "tags": {}, "description": ""}}',
        b"v1,s7S0EPssIak3txiyv5v9tQl3GystwXmlebucxdSmkS0=",
    ),
    (
        "568b2349-6fac-4318-babc-04344efef145",
        b'{"entity": "model_version_alias", "action": "created", "timestamp": "2026-11-23T16:27:21.585781+00:00", '
        b'"data": {"name": "demo model", "alias": "champion", "version": "1"}}',
        b"v1,WQl95PRJttsBjG7JH7Y7Ty80DZdsieDkX3p5otWYAsA=",
    ),
]
"""From MLflow 3.17: delivery id, body, signature."""


@pytest.mark.parametrize(("delivery", "body", "signature"), RECORDED)
def test_we_sign_as_mlflow_does(delivery: str, body: bytes, signature: bytes) -> None:
    assert mlflow_signature("s3cret", delivery, "1795451241", body) == signature


@pytest.mark.parametrize(
    ("source", "secret", "good"),
    [
        ("hf", "0123456789abcdef", True),
        ("hf", "0123456789abcde", False),
        ("mlflow", "secret", False),
        ("standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", True),
        ("standard", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", True),
        ("standard", "whsec_c2hvcnQ=", False),
        ("standard", "whsec_no base64, but long enough to be one", False),
        ("standard", "whsec_", False),
    ],
)
def test_a_secret_that_could_be_guessed_is_none(source: str, secret: str, good: bool) -> None:
    assert (weakness(source, secret) is None) is good
