"""Which query parameters a route has: a filter that is misspelt, or given twice, must not silently leave everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel

from registry_auditor.api.problems import SHOWN

SHORT = 100
"""Characters of an unknown name that are compared: it may be of any length."""


def require_known(request: Request) -> None:
    """Let pass what gives each parameter once, and only such as the route has.

    Raises RequestValidationError, which names every other one and what it may have meant.
    """
    given = Counter(name for name, _ in request.query_params.multi_items())
    if not given:
        return
    route: APIRoute = request.scope["route"]
    known = sorted(_names(route.dependant))
    wrong = [name for name, times in given.items() if name not in known or times > 1]
    if wrong:
        # Of thousands only those are looked into that are shown.
        raise RequestValidationError([_fault(name, known) for name in wrong[:SHOWN]])


def _fault(name: str, known: list[str]) -> dict[str, Any]:
    return {"loc": ("query", name), "msg": "is given more than once" if name in known else _unknown(name, known)}


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name[:SHORT].lower(), known, n=1)
    if near:
        return f"there is no such parameter; did you mean {near[0]}?"
    return f"there is no such parameter; known: {', '.join(known)}" if known else "there are no parameters here"


def _names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from kind.model_fields
        else:
            yield field.alias
    for each in dependant.dependencies:
        yield from _names(each)
