"""Logs: one line a record, as text or JSON, each with the audit that it belongs to."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

FORMAT_VARIABLE = "REGISTRY_AUDITOR_LOG_FORMAT"
TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
LogFormat = Literal["text", "json"]
_audit_id: ContextVar[str | None] = ContextVar("audit_id", default=None)


def configure(level: str, form: LogFormat = "text") -> None:
    """Send the records of this process to stderr; what was configured before is replaced."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_with_audit)
    handler.setFormatter(_json() if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)


@contextmanager
def about(audit_id: str) -> Iterator[None]:
    """Records made in this block, by whichever module, carry `audit_id`."""
    token = _audit_id.set(audit_id)
    try:
        yield
    finally:
        _audit_id.reset(token)


def _with_audit(record: logging.LogRecord) -> bool:
    if audit_id := _audit_id.get():
        record.audit_id = audit_id
    return True


def _json() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp=True,
    )
