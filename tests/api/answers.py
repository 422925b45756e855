"""What the service answers when it takes nothing."""

from __future__ import annotations

from typing import Any

REFUSED = {
    "type": "about:blank",
    "title": "Unauthorized",
    "status": 401,
    "detail": "the signature is missing, wrong or too old",
}
"""To whoever cannot prove who he is, whatever it is that fails."""


def is_problem(answer: Any, status: int) -> bool:
    """Whether `answer` is a problem of RFC 9457 with this status, and nothing more."""
    return bool(
        answer.status_code == status == answer.json()["status"]
        and answer.headers["content-type"] == "application/problem+json"
        and answer.json().keys() == {"type", "title", "status", "detail"}
    )
