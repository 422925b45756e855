"""`POST /hooks/{source}/{hook_id}`: a registry tells us to look. Nothing is done here but to write that down."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse

from registry_auditor.api import body, payloads
from registry_auditor.api.doors import Door, Doors, wall
from registry_auditor.api.intake import Intake
from registry_auditor.api.payloads import Hint, Malformed
from registry_auditor.api.problems import unavailable
from registry_auditor.api.signatures import GENUINE, delivery_id
from registry_auditor.errors import StoreError
from registry_auditor.store import Delivery

logger = logging.getLogger(__name__)

COMMIT_PATIENCE_S = 10
"""How long a sender waits for the database; most give up after 10 to 30 seconds."""

Outcomes = Counter[tuple[str, str]]
"""How many deliveries of a source ended how."""
REFUSALS = {
    HTTPStatus.BAD_REQUEST: "malformed",
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.REQUEST_TIMEOUT: "broken_off",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}
OUTCOMES = ("accepted", "ignored", *REFUSALS.values())


class Hooks:
    """Lets in who has the secret, and hands on what they say."""

    def __init__(self, doors: Doors, intake: Intake, *, folders: tuple[Path, ...]) -> None:
        """`folders`: those that are watched; a delivery can name no other."""
        self.outcomes: Outcomes = Counter({(source, outcome): 0 for source, _ in doors for outcome in OUTCOMES})
        self._doors = doors
        self._intake = intake
        self._folders = folders

    @property
    def duplicates(self) -> int:
        """How many deliveries were known already."""
        return self._intake.duplicates

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter()
        # Not add_api_route: what FastAPI could do for us before the signature is verified costs, and must not happen.
        router.add_route("/hooks/{source}/{hook_id}", self.receive, methods=["POST"])
        return router

    async def receive(self, request: Request) -> JSONResponse:
        """Take a delivery of a registry: verify it, write down where to look, and answer."""
        source, hook_id = request.path_params["source"], request.path_params["hook_id"]
        counted = source if source in GENUINE else "unknown"
        try:
            taken = await self._take(source, hook_id, request)
        except HTTPException as error:
            self.outcomes[counted, REFUSALS[HTTPStatus(error.status_code)]] += 1
            raise
        self.outcomes[counted, "accepted" if taken else "ignored"] += 1
        return JSONResponse({"accepted": taken}, HTTPStatus.ACCEPTED)

    async def _take(self, source: str, hook_id: str, request: Request) -> int:
        raw = await body.read(request)
        # An unknown hook takes the same way as a wrong secret, so that nobody can find out which hooks there are.
        door = self._doors.get((source, hook_id)) or wall(source)
        if not door.opens(request.headers, raw):
            logger.info("hook %.20r/%.70r: refused a delivery without a good signature", source, hook_id)
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "the signature is missing, wrong or too old")
        deliveries = self._read(door, raw, delivery_id(source, request.headers))
        if deliveries:
            await self._commit(deliveries)
        return len(deliveries)

    def _read(self, door: Door, raw: bytes, delivery: str) -> list[Delivery]:
        now = datetime.now(UTC)
        try:
            hints = payloads.read(door.source, raw, delivery)
            return [Delivery(door.hook, hint.key, self._placed(door, hint), now) for hint in hints]
        except Malformed as error:
            logger.warning("hook %s: a delivery with a good signature is malformed: %s", door.hook, error)
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"the body is not understood: {error}") from None

    def _placed(self, door: Door, hint: Hint) -> str | None:
        """Where to look: a model, or the registry of the hook. Raises Malformed if it is out of the watched folders."""
        if hint.target is None:
            return door.registry
        registry, _, name = hint.target.partition(":")
        if registry != "dir":
            return hint.target
        # Links are followed: what is inside by name may be outside.
        folder = Path(os.path.realpath(name))
        if not any(folder.is_relative_to(watched) for watched in self._folders):
            raise Malformed("it names a folder that is in none of the watched ones")
        return f"dir:{folder}"

    async def _commit(self, deliveries: list[Delivery]) -> None:
        try:
            async with asyncio.timeout(COMMIT_PATIENCE_S):
                await self._intake.put(deliveries)
        except StoreError as error:
            logger.error("a delivery was not taken: %s", error)
            raise unavailable() from None
        except TimeoutError:
            # Should it be committed after all, its repetition is dropped.
            logger.error("a delivery was not taken: the database did not answer within %d s", COMMIT_PATIENCE_S)
            raise unavailable() from None
