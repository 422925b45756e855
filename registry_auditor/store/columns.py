"""Column types that behave alike on SQLite and PostgreSQL, whatever a stranger's model puts into them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np
from sqlalchemy import JSON, DateTime, Dialect, Enum, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator


def plain_text(text: str) -> str:
    """`text` without what PostgreSQL or UTF-8 refuse: NUL becomes ␀, a lone surrogate �.

    Byte-level vocabularies hold both, so that the top tokens of a direction do too.
    """
    return text.replace("\0", "\u2400").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: tuples as lists, NumPy values as Python's, NaN and infinities as text.

    Raises TypeError for what has no such form.
    """
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {plain_text(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, int):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be kept: {value!r} is no JSON value")


def to_json(value: Any) -> str:
    """The JSON text of a `plain` value."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class PlainText(TypeDecorator[str]):
    """Text of any length, made `plain_text` on its way in."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else plain_text(value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC. SQLite knows no time zones: there the bare UTC time is kept."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database. Raises ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        try:
            utc = value.astimezone(UTC)
        except OverflowError:  # in UTC it is in the year 0 or 10000, for which there is no name
            utc = datetime.max.replace(tzinfo=UTC) if value.year > 1 else datetime.min.replace(tzinfo=UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def by_value(enum: type[StrEnum]) -> Enum:
    """`enum` kept as its values, in a column wide enough for values that a later version adds."""
    return Enum(enum, native_enum=False, length=32, values_callable=lambda members: [str(m) for m in members])


json_document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
