"""Places in lists: each continues the list that it comes from, and no other."""

from __future__ import annotations

import base64
import re

import pytest

from registry_auditor.errors import UsageError
from registry_auditor.store.cursors import cursor, place


@pytest.mark.parametrize("values", [("0199a1b2",), ("hf", "org/模型"), (None, "id"), (1.5, "bank", 3), (2**31 - 1,)])
def test_a_place_comes_back_as_it_was(values: tuple[object, ...]) -> None:
    made = cursor("audits", *values)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", made)
    assert place(made, "audits", *map(type, values)) == values


def coded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


NO_PLACES = [
    "",
    "x",
    "%%%",
    "0199a1b2-7c3d",
    coded(b"{}"),
    coded(b"[]"),
    coded(b"[1]"),
    coded(b"\xff"),
    coded(b"[" * 9999),
]


@pytest.mark.parametrize("made_up", NO_PLACES)
def test_what_is_no_place_is_called_so(made_up: str) -> None:
    with pytest.raises(UsageError, match="no place in a list; pass what stood in `next`"):
        place(made_up, "audits", str)


ELSEWHERE = [
    cursor("models", "0199"),
    cursor("audits"),
    cursor("audits", "0199", "0199"),
    cursor("audits", 1),
    cursor("audits", None),
    cursor("audits", ["0199"]),
]


@pytest.mark.parametrize("other", ELSEWHERE)
def test_a_place_in_another_list_is_called_so(other: str) -> None:
    with pytest.raises(UsageError, match="a place in another list, and not in that of audits"):
        place(other, "audits", str)


@pytest.mark.parametrize("number", [2**31, -(2**31), True])
def test_a_number_that_no_column_holds_is_no_place(number: int) -> None:
    with pytest.raises(UsageError, match="another list"):
        place(cursor("sightings", number), "sightings", int)
