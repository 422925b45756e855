"""Where the routes of version 1 hang."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.params import Depends


def routes_of(noun: str, *, dependencies: Sequence[Depends] = ()) -> APIRouter:
    """A router for the routes of one noun, which an application takes as they are.

    To include a router in another builds its routes a second time, which is a tenth of the start of `serve`.
    """
    return APIRouter(
        prefix="/api/v1",
        tags=[noun],
        dependencies=list(dependencies),
        generate_unique_id_function=lambda route: route.name,
    )
