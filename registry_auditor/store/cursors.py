"""Where a list goes on: opaque text that names the list, its order and the last place in it.

The one mechanism of all lists. It is no secret: whoever makes one up asks for what they could ask for anyway.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from registry_auditor.errors import UsageError

LARGEST = 2**31
"""No column that lists are sorted by holds a larger integer, and PostgreSQL does not compare them with one."""


def cursor(order: str, *place: Any) -> str:
    """What `place` takes apart again; `order` names the list and what it is sorted by."""
    text = json.dumps([order, *place], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place(after: str, order: str, *kinds: type | tuple[type, ...]) -> tuple[Any, ...]:
    """The values of a cursor, one of each of `kinds`.

    Raises UsageError for what is no cursor, or one of another list or order.
    """
    try:
        text = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True)
        found = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        found = None
    if not (isinstance(found, list) and found and isinstance(found[0], str)):
        raise UsageError("after: this is no place in a list; pass what stood in `next`, unchanged")
    if found[0] != order or not _fit(found[1:], kinds):
        raise misplaced(order)
    return tuple(found[1:])


def misplaced(order: str) -> UsageError:
    """What is raised for a cursor that continues another list than that of `order`."""
    return UsageError(
        f"after: this is a place in another list, and not in that of {order}; "
        "pass the `next` of a page of the same list in the same order"
    )


def _fit(values: list[Any], kinds: tuple[type | tuple[type, ...], ...]) -> bool:
    return len(values) == len(kinds) and all(
        type(value) in (kind if isinstance(kind, tuple) else (kind,)) and not (kind is int and abs(value) >= LARGEST)
        for value, kind in zip(values, kinds, strict=True)
    )
